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
