"""What is found in class folders, what is left out, and what is refused."""

import os
import shutil
from pathlib import Path

import pytest

from study.common.errors import DataError
from study.data.digest import hash_files
from study.data.digest import UNREADABLE
from study.data.directory import list_tree
from study.data.folder import find_images
from study.data.listing import Listing
from study.data.prepare import prepare
from tests.support.images import class_folders
from tests.support.images import write_noise_image


def rename_endings(folder: Path, ending: str, count: int) -> None:
    for file in sorted(folder.iterdir())[:count]:
        file.rename(file.with_suffix(ending))


def count_images(listing: Listing, label: str) -> int:
    return sum(entry.label == label for entry in listing.entries)


def make_parts(root: Path, train: dict[str, int], test: dict[str, int]) -> Path:
    class_folders(root / "train", train)
    class_folders(root / "test", test)
    return root


@pytest.mark.parametrize("ending", [".jfif", ".jpe", ".JP2", ".ppm", ".avif", ".mpo", ".dib"])
def test_images_with_endings_that_pillow_knows_are_listed(tmp_path: Path, ending: str) -> None:
    root = class_folders(tmp_path, {"a": 4, "b": 4})
    rename_endings(root / "a", ending, 3)
    listing = find_images(str(root))
    assert count_images(listing, "a") == 4
    assert listing.notes == ()


@pytest.mark.parametrize("ending", ["jfif", "jp2", "ppm", "webp", "dib"])
def test_images_of_formats_with_other_endings_are_decoded(tmp_path: Path, ending: str) -> None:
    root = class_folders(tmp_path, {"a": 2, "b": 2})
    write_noise_image(root / "a" / f"x.{ending}", seed=7)
    data = prepare(f"folder:{root}", 8, use_cache=False)
    assert f"a/x.{ending}" in data.images
    assert data.skipped == ()


def test_files_left_out_are_counted_by_ending(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 6, "b": 4})
    rename_endings(root / "a", ".DCM", 2)
    (root / "b" / "Notes.txt").touch()
    (root / "b" / "README").touch()
    write_noise_image(root / "loose.png", seed=1)
    notes = find_images(str(root)).notes
    assert notes == (
        "left out: 4 files (2 .dcm, 1 without an ending, 1 .txt) in class folders",
        "left out: 1 file (1 .png) above the class folders",
    )
    assert prepare(f"folder:{root}", 8, use_cache=False).notes == notes


def test_masks_among_the_images_are_noted(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"benign": 3, "normal": 2})
    plain = find_images(str(root))
    assert plain.notes == ()
    names = ("000_mask", "000_mask_1", "001-Seg", "002_label")
    for seed, name in enumerate(names):
        write_noise_image(root / "benign" / f"{name}.png", seed)
    write_noise_image(root / "normal" / "002_mask.png", seed=9)  # its image is in another class
    listing = find_images(str(root))
    assert listing.notes == (
        "4 files look like masks of other images, such as benign/000_mask.png, and would be "
        "trained on: move them away if they are masks",
    )
    assert len(listing.entries) == len(plain.entries) + 5


def test_one_mask_among_the_images_of_a_part_is_noted(tmp_path: Path) -> None:
    root = make_parts(tmp_path, {"a": 2, "b": 2}, {"a": 1, "b": 1})
    write_noise_image(root / "train" / "a" / "001_segmentation.tif", seed=9)
    (note,) = find_images(str(root)).notes
    assert note.startswith("1 file looks like a mask of other images, such as train/a/001_segm")


def test_class_of_mostly_other_files_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 5, "b": 4})
    rename_endings(root / "a", ".dcm", 3)
    with pytest.raises(DataError, match=r"class 'a' .* 2 images .* 3 files \(3 \.dcm\): convert"):
        find_images(str(root))
    rename_endings(root / "b", ".nii", 4)
    shutil.rmtree(root / "a")
    class_folders(root, {"c": 1})
    with pytest.raises(DataError, match=r"class 'b' .* has no image; .*4 \.nii"):
        find_images(str(root))


def test_class_with_more_side_files_than_images_is_kept(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 1, "b": 1})
    for name in ("000.txt", "000.json", "000.xml"):
        (root / "a" / name).touch()
    assert count_images(find_images(str(root)), "a") == 1


@pytest.mark.parametrize("label", ["unknown", "NORMAL"])
def test_class_without_training_images_is_refused(tmp_path: Path, label: str) -> None:
    root = make_parts(tmp_path, {"cat": 2, "dog": 2}, {"cat": 1, label: 3})
    with pytest.raises(DataError, match=f"class '{label}' .* none in train.*'test/{label}'"):
        find_images(str(root))


def test_class_spelled_differently_in_test_is_refused(tmp_path: Path) -> None:
    root = make_parts(tmp_path, {"Normal": 2, "dog": 2}, {"NORMAL": 1, "dog": 1})
    with pytest.raises(DataError, match=r"'NORMAL' \(in test\) and 'Normal' .* differ by"):
        find_images(str(root))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_class_folder_with_a_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 1, "b": 1})
    (root / "a").rename(os.fsdecode(os.fsencode(root) + b"/M\xfcller"))
    with pytest.raises(DataError, match=r"class folder 'M\\udcfcller' .* rename it"):
        find_images(str(root))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_pipes_and_broken_links_are_unreadable_with_the_reason(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 2, "b": 2})
    os.mkfifo(root / "a" / "pipe.jpg")
    (root / "a" / "lost.jpg").symlink_to("nowhere.jpg")
    (root / "a" / "loop.jpg").symlink_to("loop.jpg")
    hashes = hash_files(find_images(str(root)), None, remember=False)
    assert sum(value == UNREADABLE for value in hashes.values()) == 3
    assert dict(prepare(f"folder:{root}", 8, use_cache=False).skipped) == {
        "a/pipe.jpg": "cannot be read: neither a file nor a link to one",
        "a/lost.jpg": "cannot be read: a link to a file that is not there",
        "a/loop.jpg": "cannot be read: a link that leads back to itself",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_groups_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 1, "b": 1})
    (root / "groups.csv").symlink_to("nowhere.csv")
    with pytest.raises(DataError, match=r"groups\.csv cannot be read: a link"):
        find_images(str(root))
    (root / "groups.csv").unlink()
    os.mkfifo(root / "groups.csv")
    with pytest.raises(DataError, match=r"groups\.csv cannot be read: neither"):
        find_images(str(root))
    (root / "groups.csv").rename(root / "Groups.CSV")
    with pytest.raises(DataError, match=r"Groups\.CSV is not read as groups: rename it"):
        find_images(str(root))


def test_what_the_study_writes_is_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folders(tmp_path, {"a": 2, "b": 2})
    plain = find_images(str(root)).entries
    monkeypatch.setenv("STUDY_CACHE", str(root / "my cache"))
    own_folders = ("mlruns", "exports", "mlartifacts", "audits")
    for name in (*own_folders, "__pycache__", ".venv", "my cache"):
        write_noise_image(root / name / "curves.png", seed=1)
    listing = find_images(str(root))
    assert listing.entries == plain
    assert len(listing.notes) == 1
    assert all(name in listing.notes[0] for name in own_folders)
    images, notes = list_tree(root)
    assert images == [entry.image for entry in plain]
    assert "exports" in notes[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows needs a privilege for links")
def test_tree_follows_links_but_not_into_a_folder_that_they_lie_in(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "tree", {"a": 2})
    class_folders(tmp_path / "other", {"b": 1})
    (root / "a" / "up").symlink_to(root)
    (root / "linked").symlink_to(tmp_path / "other")
    assert list_tree(root).images == ["a/000.png", "a/001.png", "linked/b/000.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows needs a privilege for links")
def test_tree_has_the_images_of_every_link_to_the_same_folder(tmp_path: Path) -> None:
    class_folders(tmp_path / "src", {"x": 1})
    (tmp_path / "src" / "x" / "up").symlink_to(tmp_path / "src")
    (tmp_path / "tree").mkdir()
    for name in ("a", "b"):
        (tmp_path / "tree" / name).symlink_to(tmp_path / "src")
    assert list_tree(tmp_path / "tree").images == ["a/x/000.png", "b/x/000.png"]
