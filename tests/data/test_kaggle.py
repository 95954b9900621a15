"""Finding and downloading the Kaggle sets: tiny copies in Kaggle's layout, kagglehub itself."""

import shutil
from collections import Counter
from pathlib import Path

import kagglehub
import pytest

from study.common.errors import DataError
from study.data.prepare import compute_data_digest
from study.data.prepare import Data
from study.data.prepare import prepare
from study.data.split import count_leaking_images
from study.data.split import make_split
from tests.support.data_tasks import download
from tests.support.data_tasks import run_in_processes
from tests.support.images import blood
from tests.support.images import chest

CHEST_HANDLE = "paultimothymooney/chest-xray-pneumonia"


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty kagglehub cache, and a network in which nobody answers."""
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path / "hub"


def make_kagglehub_folder(hub: Path, handle: str, version: int, complete: bool = True) -> Path:
    """The folder of a version in kagglehub's cache."""
    if complete:
        (hub / "datasets" / handle).mkdir(parents=True, exist_ok=True)
        (hub / "datasets" / handle / f"{version}.complete").touch()
    return hub / "datasets" / handle / "versions" / str(version)


def count_by_folder(data: Data) -> dict[str, int]:
    return dict(Counter(data.folders))


@pytest.mark.parametrize("below", ["", "chest_xray", "chest-xray-pneumonia/chest_xray"])
def test_data_dir_is_the_chest_set_or_a_folder_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    chest(tmp_path / "images" / below)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "images"))
    data = prepare("chest", 8)
    assert data.source == f"https://www.kaggle.com/datasets/{CHEST_HANDLE}"
    assert data.classes == ("NORMAL", "PNEUMONIA")
    assert count_by_folder(data) == {"train": 20, "test": 20, "val": 20}
    assert data.images[0] == "test/NORMAL/IM-0050-0001.jpeg"


@pytest.mark.parametrize("below", ["", "images", "dataset2-master/dataset2-master/images"])
def test_blood_under_foreign_names_keeps_every_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    blood(tmp_path / below)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    data = prepare("blood", 8)
    assert count_by_folder(data) == {"train": 40, "test": 20, "test_simple": 4}
    assert data.groups is None
    pooled = make_split(data, "pooled", 0)
    assert sum(len(part) for part in (pooled.train, pooled.val, pooled.test)) == 64
    official = make_split(data, "official", 0)
    assert {data.folders[row] for row in official.test} == {"test"}
    assert len(official.test) == 20
    with pytest.raises(DataError, match=r"no groups known for blood \(0 of 64 files have a name"):
        make_split(data, "grouped", 0)


def test_nested_copy_and_mac_files_do_not_change_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = chest(tmp_path / "chest_xray")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    plain = compute_data_digest("chest")
    shutil.copytree(root, root / "chest_xray")
    for folder in ("train/NORMAL", "__MACOSX/chest_xray/train/NORMAL"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "._IM-0001-0001.jpeg").write_bytes(b"junk")
    (root / "train" / ".DS_Store").write_bytes(b"junk")
    assert compute_data_digest("chest") == plain
    for part in ("train", "test", "val"):
        shutil.rmtree(root / part)
    assert compute_data_digest("chest") == plain


def test_chest_file_names_give_the_patients_as_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {
        "PNEUMONIA": [
            "person1_bacteria_1.jpeg",
            "person1_bacteria_2.jpeg",
            "person1_virus_6.jpeg",
            "person1_virus_2_1.jpeg",
        ],
        "NORMAL": ["IM-0001-0001.jpeg", "IM-0001-0002-0001.jpeg", "NORMAL2-IM-0001-0001.jpeg"],
    }
    root = chest(tmp_path)
    for label, files in names.items():
        shutil.rmtree(root / "train" / label)
        (root / "train" / label).mkdir()
        for file in files:
            shutil.copy(
                root / "test" / "NORMAL" / "IM-0050-0001.jpeg", root / "train" / label / file
            )
    monkeypatch.setenv("DATA_DIR", str(root))
    data = prepare("chest", 8)
    assert data.groups is not None
    group = dict(zip((i.rsplit("/")[-1] for i in data.images), data.groups, strict=True))
    assert group["person1_bacteria_1.jpeg"] == group["person1_bacteria_2.jpeg"]
    assert group["person1_virus_6.jpeg"] == group["person1_virus_2_1.jpeg"]
    assert group["IM-0001-0001.jpeg"] == group["IM-0001-0002-0001.jpeg"]
    assert len({group[name] for files in names.values() for name in files}) == 4


def test_chest_official_split_leaves_val_out_and_has_no_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(chest(tmp_path)))
    data = prepare("chest", 8)
    split = make_split(data, "official", 0)
    assert {data.folders[row] for row in (*split.train, *split.val)} == {"train"}
    assert {data.folders[row] for row in split.test} == {"test"}
    assert count_leaking_images(data, split) == 0


def test_newest_complete_download_is_used(hub: Path) -> None:
    for version, parts in ((2, ("train", "test")), (10, ("train", "test", "val"))):
        chest(make_kagglehub_folder(hub, CHEST_HANDLE, version) / "chest_xray", parts)
    make_kagglehub_folder(hub, CHEST_HANDLE, 11, complete=False).mkdir(parents=True)
    assert count_by_folder(prepare("chest", 8)) == {"train": 20, "test": 20, "val": 20}


def test_data_dir_without_the_set_falls_back_to_the_hub(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chest(make_kagglehub_folder(hub, CHEST_HANDLE, 2) / "chest_xray")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "elsewhere"))
    assert len(prepare("chest", 8).images) == 60


def test_missing_data_without_a_network_names_all_that_was_tried(
    tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "elsewhere"))
    for dataset, landmark in (("chest", "chest_xray/train/NORMAL"), ("blood", "images/TRAIN/EOS")):
        with pytest.raises(DataError) as caught:
            prepare(dataset, 8)
        message = str(caught.value)
        for words in (
            f"DATA_DIR={tmp_path / 'elsewhere'}",
            landmark,
            str(hub),
            "no connection to Kaggle",
            "https://www.kaggle.com/datasets/paultimothymooney/",
            "set DATA_DIR",
            "--dataset demo",
        ):
            assert words in message
        assert message.count("\n") == 1
        assert len(message) < 900
    monkeypatch.delenv("DATA_DIR")
    with pytest.raises(DataError, match=r"DATA_DIR \(not set\)"):
        compute_data_digest("chest")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (RuntimeError("first line\nsecond line"), r"download \(RuntimeError: first line\)"),
        (ValueError(), r"download \(ValueError\)"),
    ],
)
def test_download_error_of_any_kind_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(_: str) -> str:
        raise error

    monkeypatch.setattr(kagglehub, "dataset_download", fail)
    with pytest.raises(DataError, match=words):
        prepare("blood", 8)


def test_download_with_another_layout_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kagglehub, "dataset_download", lambda _: str(tmp_path))
    with pytest.raises(DataError, match="has no chest_xray/train/NORMAL"):
        prepare("chest", 8)


def test_two_processes_at_once_download_once(hub: Path) -> None:
    answers = run_in_processes(download, 2, str(hub))
    assert len({digest for digest, _ in answers}) == 1
    assert sum(asked for _, asked in answers) == 1
