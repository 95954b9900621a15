"""What is said of a trial's images and steps before it trains."""

from pathlib import Path
from typing import Any

import pytest

from study.config.trial_config import recipe
from study.data.prepare import prepare
from study.data.split import make_split
from study.data.warnings import print_warnings_once
from tests.support.images import blood
from tests.support.images import chest
from tests.support.images import class_folders


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been warned of yet."""
    monkeypatch.setattr("study.data.warnings._warned", set())


def list_warnings(dataset: str = "demo", **changes: Any) -> list[str]:
    config = recipe(dataset).replace(**{"split": "grouped", "image_size": 75, **changes})
    data = prepare(dataset, 75)
    lines: list[str] = []
    split = make_split(data, config.split, config.seed, config.limit)
    print_warnings_once(config, data, split, 0, lines.append)
    return lines


def test_few_steps_for_the_moving_averages_are_a_warning() -> None:
    (line,) = list_warnings(epochs=3, bn_momentum=0.99)
    steps = 3 * 13  # 208 images, 16 a batch
    assert line.endswith(": use --bn-momentum 0.9")
    assert f"after {steps} training steps" in line
    assert f"keep {100 * 0.99**steps:.0f} % of their first values (bn_momentum=0.99)" in line


def test_few_steps_for_any_momentum_ask_for_more_epochs() -> None:
    (line,) = list_warnings(epochs=1, bn_momentum=0.9)
    assert "after 13 training steps" in line
    assert line.endswith(": train more epochs")


@pytest.mark.parametrize(
    "changes",
    [
        {"bn_momentum": 0.9},
        {"bn_momentum": 0.99, "epochs": 30},
        {"bn_momentum": 0.99, "trainable": 0.0},  # its averages are those of ImageNet, and stay
        {"bn_momentum": 0.99, "backbone": "vgg16", "alpha": 1.0},  # has none
    ],
)
def test_enough_steps_for_the_moving_averages_are_no_warning(changes: dict[str, Any]) -> None:
    assert list_warnings(**{"epochs": 3, **changes}) == []


def test_each_config_of_a_process_with_too_few_steps_is_warned_of_once() -> None:
    assert list_warnings(epochs=3, bn_momentum=0.9) == []
    assert len(list_warnings(epochs=3, bn_momentum=0.99)) == 1
    assert list_warnings(epochs=3, bn_momentum=0.99, seed=1) == []
    assert len(list_warnings(epochs=2, bn_momentum=0.99)) == 1


@pytest.mark.parametrize(
    ("dataset", "split"),
    [
        ("chest", "pooled"),
        ("chest", "official"),
        ("chest", "grouped"),
        ("blood", "pooled"),
        ("blood", "official"),
    ],
)
def test_incomplete_copy_of_a_known_set_is_noted_once_for_every_split(
    dataset: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, copy, complete = {"chest": (chest, 60, 5856), "blood": (blood, 64, 12_515)}[dataset]
    monkeypatch.setenv("DATA_DIR", str(write(tmp_path)))
    (line,) = [line for line in list_warnings(dataset, split=split) if "complete" in line]
    assert f"this copy has {copy} image files, and the complete set {complete}: " in line
    assert ("differs from the report's" in line) == (split == "pooled")


@pytest.mark.parametrize(
    ("train", "val", "is_few"), [(30, 10, False), (20, 9, True), (210, 10, True), (200, 10, False)]
)
def test_validation_folder_of_few_images_is_a_warning(
    train: int, val: int, is_few: bool, tmp_path: Path
) -> None:
    for part, count in (("train", train), ("test", 2), ("valid", val)):
        class_folders(tmp_path / part, {"a": count, "b": count})
    lines = list_warnings(f"folder:{tmp_path}", split="official", bn_momentum=0.5)
    warning = (
        f"  warning: {2 * val} validation images for {2 * train} training images are too few to "
        "tell which config is best: move those of the validation folder into the training folder, "
        "of which 20 % are then taken"
    )
    assert (warning in lines) == is_few
    assert any("validation images" in line for line in lines) == is_few


def test_drawn_validation_part_of_few_images_asks_for_more(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 20, "b": 20})
    lines = list_warnings(f"folder:{tmp_path}", split="pooled")
    told = "  warning: 6 validation images for 26 training images are too few to tell which config"
    assert f"{told} is best: add images" in lines
    limited = list_warnings(f"folder:{tmp_path}", split="pooled", limit=20)
    assert not [line for line in limited if "validation images" in line]
