import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from study.common.errors import DataError
from study.data.prepare import compute_data_digest
from study.data.prepare import list_recorded_digests
from study.data.prepare import prepare
from study.data.split import count_leaking_images
from study.data.split import make_split
from tests.support.images import class_folders


def assert_refused(root: Path | str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        compute_data_digest(f"folder:{root}")
    assert str(caught.value).count("\n") < 2


def test_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nothing", "no folder at .*nothing")
    (tmp_path / "file").write_text("")
    assert_refused(tmp_path / "file", "is not a folder")


@contextmanager
def without_root_rights() -> Iterator[None]:
    """Without root's right to read everything, if the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other permissions")
def test_folder_without_read_permission_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "set", {"a": 1, "b": 1})
    for folder in (root / "a", root):
        folder.chmod(0)
        try:
            with without_root_rights():
                assert_refused(root, "cannot read the folder .*permission")
        finally:
            folder.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="Windows needs a privilege for links")
@pytest.mark.parametrize("name", ["c", "test", "train/c", "test/c"])
def test_link_to_a_folder_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    parts = ("train", "test") if "t" in name else ("",)
    for part in parts:
        class_folders(tmp_path / part, {"a": 2, "b": 2})
    shutil.rmtree(tmp_path / name, ignore_errors=True)
    (tmp_path / name).symlink_to("/nonexistent")
    assert_refused(tmp_path, f"{tmp_path / name} is a link to a folder that is not there: correct")
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / name)
    assert_refused(tmp_path, f"{tmp_path / name} is a link that cannot be followed .*: correct")


@pytest.mark.skipif(os.name == "nt", reason="Windows needs a privilege for links")
def test_broken_link_to_a_file_beside_the_class_folders_is_no_class(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 2, "b": 2})
    (root / "labels.csv").symlink_to("/nonexistent.csv")
    assert prepare(f"folder:{root}", 8).classes == ("a", "b")


def test_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, "has no class folders")
    class_folders(tmp_path / "train", {"a": 1, "b": 1})
    (tmp_path / "test").mkdir()
    assert_refused(tmp_path, "test has no class folders")


def test_class_folder_without_an_image_is_refused(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "notes.txt").write_text("no image")
    assert_refused(tmp_path, "class 'c' .* has no image.*jpg, jpeg")


def test_folder_of_a_single_class_is_refused(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 2})
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    assert_refused(tmp_path, "one class only, 'cat'")


def test_folder_one_level_too_high_is_refused(tmp_path: Path) -> None:
    for name in ("first", "second"):
        class_folders(tmp_path / name, {"a": 1, "b": 1})
    assert_refused(tmp_path, "first holds a folder, '[ab]'")


def test_class_folders_beside_train_and_test_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 1, "b": 1})
    class_folders(tmp_path, {"extra": 1})
    assert_refused(tmp_path, r"mixes parts \(train\) with other folders \(extra\)")


def test_train_test_and_val_folders_make_the_official_split(tmp_path: Path) -> None:
    for part, count in (("Train", 10), ("TEST", 5), ("valid", 3)):
        class_folders(tmp_path / part, {"a": count, "b": count})
    data = prepare(f"folder:{tmp_path}", 8)
    assert data.classes == ("a", "b")
    assert data.images[0] == "TEST/a/000.png"
    assert {part: data.folders.count(part) for part in data.folders} == {
        "train": 20,
        "test": 10,
        "val": 6,
    }
    split = make_split(data, "official", 0)
    assert [len(split.train), len(split.val), len(split.test)] == [20, 6, 10]


def test_class_missing_from_the_test_folder_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 20, "b": 20, "c": 20})
    class_folders(tmp_path / "test", {"a": 5, "b": 5})
    data = prepare(f"folder:{tmp_path}", 8)
    with pytest.raises(DataError, match=r"'c' is missing from test.*train 16"):
        make_split(data, "official", 0)


def test_groups_csv_gives_the_groups_and_changes_other_digests_than_the_pooled(
    tmp_path: Path,
) -> None:
    root = class_folders(tmp_path, {"a": 20, "b": 20})
    without = compute_data_digest(f"folder:{root}")
    lines = [f"{c}/{i:03}.png,{c}{i // 4}" for c in "ab" for i in range(20)]
    (root / "groups.csv").write_text("\n".join(["image,group", *lines]), encoding="utf-8-sig")
    data = prepare(f"folder:{root}", 8)
    assert data.groups is not None
    assert data.groups[:5] == ("a0", "a0", "a0", "a0", "a1")
    assert count_leaking_images(data, make_split(data, "grouped", 0)) == 0
    assert data.digest != without  # other groups, other grouped splits
    assert prepare(f"folder:{root}", 8, split="pooled").digest == without
    assert list_recorded_digests(f"folder:{root}") == {data.digest, without}
    (root / "groups.csv").write_text("\n".join(["image,group", *lines[:-2]]))
    assert_refused(root, "names no group for 2 images, first 'b/018.png'")


def test_groups_csv_in_a_part_is_refused_unless_the_root_has_one(tmp_path: Path) -> None:
    for part in ("Train", "test"):
        class_folders(tmp_path / part, {"a": 1, "b": 1})
    file = tmp_path / "Train" / "groups.csv"
    file.write_text("image,group\na/000.png,1\nb/000.png,2\n")
    assert_refused(tmp_path, f"{file} is not read as groups: move it to {tmp_path}, .*Train/CLASS/")
    names = [f"{part}/{label}/000.png" for part in ("Train", "test") for label in "ab"]
    lines = ["image,group", *(f"{name},{name}" for name in names)]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    groups = prepare(f"folder:{tmp_path}", 8).groups
    assert groups is not None
    assert sorted(groups) == sorted(names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,patient\na/000.png,1\n", "line 2: needs the columns image and group"),
        ("image,group\na/000.png,\n", "line 2: needs the columns image and group"),
        ("image,group\na/000.png,1\na/000.png,2\n", "line 3: 'a/000.png' has two groups"),
        ("", "names no group for 2 images"),
    ],
)
def test_groups_csv_with_a_bad_line_is_refused_by_its_number(
    tmp_path: Path, text: str, words: str
) -> None:
    root = class_folders(tmp_path, {"a": 1, "b": 1})
    (root / "groups.csv").write_text(text)
    assert_refused(root, words)


def test_groups_csv_in_another_encoding_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path, {"a": 1, "b": 1})
    (root / "groups.csv").write_bytes("image,group\na/000.png,Zürich\n".encode("utf-16"))
    assert_refused(root, "cannot read .*groups.csv.*UTF-8")


def test_tilde_in_a_folder_path_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    class_folders(tmp_path / "set", {"a": 1, "b": 1})
    assert compute_data_digest("folder:~/set") == compute_data_digest(f"folder:{tmp_path / 'set'}")
