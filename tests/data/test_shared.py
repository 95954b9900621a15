"""The real images: exact split sizes and patients."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from study.data.prepare import compute_data_digest
from study.data.prepare import Data
from study.data.prepare import prepare
from study.data.split import count_leaking_images
from study.data.split import count_test_groups
from study.data.split import make_split
from study.data.split import Split

pytestmark = pytest.mark.shared
SIZE = 32


@pytest.fixture(scope="module")
def data_dir(shared_dir: Path) -> Path:
    return shared_dir / "data"


@pytest.fixture(scope="module")
def chest(data_dir: Path) -> Iterator[Data]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_DIR", str(data_dir))
        yield prepare("chest", SIZE)


@pytest.fixture(scope="module")
def blood(data_dir: Path) -> Iterator[Data]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_DIR", str(data_dir))
        yield prepare("blood", SIZE)


def sizes(split: Split) -> list[int]:
    return [len(split.train), len(split.val), len(split.test)]


def test_chest_has_5840_images_of_two_classes(chest: Data) -> None:
    assert chest.x.shape == (5840, SIZE, SIZE, 3)
    assert chest.skipped == ()
    assert chest.classes == ("NORMAL", "PNEUMONIA")


def test_chest_splits_have_the_reports_sizes_and_leaks(chest: Data) -> None:
    assert sizes(make_split(chest, "pooled", 0)) == [3738, 934, 1168]
    official = make_split(chest, "official", 0)
    assert len(official.test) == 624
    assert len(official.train) + len(official.val) == 5216
    assert len(official.val) == pytest.approx(0.2 * 5216, abs=20)
    assert count_leaking_images(chest, official) == 0
    assert count_leaking_images(chest, make_split(chest, "pooled", 0)) == 446


def test_chest_has_no_patient_in_train_and_test(chest: Data) -> None:
    assert chest.groups is not None
    groups, folders = np.array(chest.groups), np.array(chest.folders)
    train, test = (set(groups[folders == part]) for part in ("train", "test"))
    assert (len(train), len(test), len(train & test)) == (3654, 428, 0)


def test_chest_patient_numbers_alone_would_seem_to_leak(chest: Data) -> None:
    """N restarts for bacteria and virus: by N, 170 patients would seem to be on both sides."""
    sides: dict[str, set[int]] = {"train": set(), "test": set(), "val": set()}
    for image, folder in zip(chest.images, chest.folders, strict=True):
        if match := re.search(r"/person(\d+)_", image):
            sides[folder].add(int(match[1]))
    assert len(sides["train"] & sides["test"]) == 170


@pytest.mark.parametrize("seed", [0, 1])
def test_chest_grouped_is_near_the_pooled_sizes(chest: Data, seed: int) -> None:
    split = make_split(chest, "grouped", seed)
    assert sizes(split) == pytest.approx([3738, 934, 1168], abs=4)
    assert count_leaking_images(chest, split) == 0
    assert count_test_groups(chest, split) == pytest.approx(4082 / 5, rel=0.1)
    for part in (split.train, split.val, split.test):
        assert chest.y[part].mean() == pytest.approx(chest.y.mean(), abs=0.002)


def test_chest_folds_test_every_image_once(chest: Data) -> None:
    assert chest.groups is not None
    groups = np.array(chest.groups)
    splits = [make_split(chest, "grouped", 0, fold=fold, folds=5) for fold in range(1, 6)]
    tested = np.concatenate([split.test for split in splits])
    assert np.sort(tested).tolist() == list(range(5840))
    assert sum(count_test_groups(chest, split) or 0 for split in splits) == len(set(groups)) == 4082
    for split in splits:
        assert count_leaking_images(chest, split) == 0
        assert not set(groups[split.train]) & set(groups[split.val])
        assert sizes(split) == pytest.approx([3738, 934, 1168], abs=4)


def test_blood_has_12515_images_in_three_folders(blood: Data) -> None:
    assert blood.x.shape == (12515, SIZE, SIZE, 3)
    assert blood.skipped == ()
    assert {part: blood.folders.count(part) for part in set(blood.folders)} == {
        "train": 9957,
        "test": 2487,
        "test_simple": 71,
    }


def test_blood_splits_have_the_reports_sizes_and_leaks(blood: Data) -> None:
    pooled = make_split(blood, "pooled", 0)
    assert sizes(pooled) == [8007, 2000, 2500]
    assert count_leaking_images(blood, pooled) == 2500
    official = make_split(blood, "official", 0)
    assert sizes(official) == pytest.approx([7966, 1991, 2487], abs=160)
    assert len(official.test) == 2487
    assert count_leaking_images(blood, official) == 167  # of 6 fields that were photographed twice
    assert sum(sizes(make_split(blood, "pooled", 0, limit=500))) == pytest.approx(500, abs=12)


@pytest.mark.parametrize("seed", [0, 1])
def test_blood_grouped_is_near_the_pooled_sizes(blood: Data, seed: int) -> None:
    split = make_split(blood, "grouped", seed)
    assert sum(sizes(split)) == 12_507
    assert sizes(split) == pytest.approx([8005, 2001, 2501], rel=0.1)
    assert count_leaking_images(blood, split) == 0


def test_blood_folds_test_every_field_once(blood: Data) -> None:
    assert blood.groups is not None
    tested = [make_split(blood, "grouped", 0, fold=fold, folds=5).test for fold in range(1, 6)]
    fields = [{blood.groups[row] for row in rows} for rows in tested]
    assert sum(len(some) for some in fields) == len(set().union(*fields)) == 313
    assert len(np.unique(np.concatenate(tested))) == 12_507


def test_blood_digest_is_found_without_decoding(
    blood: Data, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(data_dir))
    assert compute_data_digest("blood") == blood.digest
