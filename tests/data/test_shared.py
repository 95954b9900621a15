"""The real images: exact split sizes and patients."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from study.data import Data
from study.data import data_digest
from study.data import leaking
from study.data import make_split
from study.data import prepare
from study.data import Split

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


def test_chest(chest: Data) -> None:
    assert chest.x.shape == (5840, SIZE, SIZE, 3)
    assert chest.skipped == ()
    assert chest.classes == ("NORMAL", "PNEUMONIA")


def test_chest_splits(chest: Data) -> None:
    assert sizes(make_split(chest, "pooled", 0)) == [3738, 934, 1168]
    official = make_split(chest, "official", 0)
    assert len(official.test) == 624
    assert len(official.train) + len(official.val) == 5216
    assert len(official.val) == pytest.approx(0.2 * 5216, abs=20)
    assert leaking(chest, official) == 0
    grouped = make_split(chest, "grouped", 0)
    assert sizes(grouped) == pytest.approx([3738, 934, 1168], abs=40)
    assert leaking(chest, grouped) == 0
    assert (leaking(chest, make_split(chest, "pooled", 0)) or 0) > 300


def test_chest_patients(chest: Data) -> None:
    assert chest.groups is not None
    groups, folders = np.array(chest.groups), np.array(chest.folders)
    train, test = (set(groups[folders == part]) for part in ("train", "test"))
    assert (len(train), len(test), len(train & test)) == (3654, 428, 0)


def test_blood(blood: Data) -> None:
    assert blood.x.shape == (12515, SIZE, SIZE, 3)
    assert blood.skipped == ()
    assert {part: blood.folders.count(part) for part in set(blood.folders)} == {
        "train": 9957,
        "test": 2487,
        "test_simple": 71,
    }


def test_blood_splits(blood: Data) -> None:
    assert sizes(make_split(blood, "pooled", 0)) == [8007, 2000, 2500]
    assert sizes(make_split(blood, "official", 0)) == [7968, 1989, 2487]
    assert sum(sizes(make_split(blood, "pooled", 0, limit=500))) == pytest.approx(500, abs=12)


def test_digest_is_found_without_decoding(
    blood: Data, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(data_dir))
    assert data_digest("blood") == blood.digest
