import importlib.util
from pathlib import Path

import cv2
import pytest

from benchmarks.rivals import __main__ as rivals
from benchmarks.rivals.images import KINDS
from benchmarks.rivals.images import write_images
from benchmarks.rivals.job import Grid
from benchmarks.rivals.table import Run
from study.common.errors import StudyError
from study.data.prepare import build_samples
from study.data.registry import get_dataset
from study.data.split import make_split
from study.data.split import PART_NAMES
from tests.support.commands import finish
from tests.support.commands import start


def test_small_and_large_image_files_keep_the_studys_split(tmp_path: Path) -> None:
    trees = []
    for kind in KINDS:
        write_images("demo", 60, tmp_path / kind, kind)
        files = sorted((tmp_path / kind).glob("*/*/*"))
        trees.append([file.relative_to(tmp_path / kind).with_suffix("") for file in files])
    assert trees[0] == trees[1]
    assert cv2.imread(str(files[0])).shape == (1000, 1300, 3)
    dataset = f"folder:{tmp_path}/small"
    samples = build_samples(dataset, get_dataset(dataset).find(), ())
    split = make_split(samples, "official", seed=0)
    assert len(samples.classes) == 4
    for part in PART_NAMES:
        named = [samples.images[row] for row in getattr(split, part)]
        assert named == [image for image in samples.images if image.startswith(f"{part}/")]


def test_rival_without_its_package_is_left_out_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else real(name)
    )
    assert rivals.list_available(["torch", "notebook", "ours"]) == [
        "notebook",
        "ours cold",
        "ours warm",
    ]
    assert "torch is left out: python -m pip install torch" in capsys.readouterr().out


def test_grids_with_different_step_counts_are_refused() -> None:
    whole = Grid(steps=14, test_accuracy=[0.5] * 7)
    short = Grid(steps=7, test_accuracy=[0.5] * 7)
    runs = [Run("small", who, 1.0, 1.0, grid) for who, grid in (("a", whole), ("b", short))]
    rivals.check_steps(runs[:1])
    with pytest.raises(StudyError, match="b is not like a: 7 variants, 7 steps"):
        rivals.check_steps(runs)


@pytest.mark.slow
def test_notebook_and_ours_train_the_same_grid(tmp_path: Path) -> None:
    flags = ("--dataset", "demo", "--images", "60", "--files", "small", "--epochs", "2")
    done = finish(start("benchmarks.rivals", *flags, "--only", "notebook", "ours", cwd=tmp_path))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("| small")]
    assert [line.split(" | ")[1] for line in lines] == ["notebook", "ours cold", "ours warm"]
    assert "; 42 steps each" in done.stdout
