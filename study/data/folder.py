"""Find a user's own images.

The folder holds one folder per class, or train, test (and val) folders of class folders.
"""

import csv
import os
import re
from collections.abc import Collection
from collections.abc import Iterable
from pathlib import Path

from study.common.errors import DataError
from study.common.paths import resolve_path
from study.data.class_folders import ClassFolder
from study.data.class_folders import list_images
from study.data.class_folders import note_stray_images
from study.data.digest import explain_unreadable
from study.data.directory import list_folders
from study.data.directory import note_own_folders
from study.data.listing import Entry
from study.data.listing import Listing
from study.data.names import check_writable

PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
GROUPS_FILE = "groups.csv"
AUDIT_GROUP_NAME = re.compile(r"(near|single)-\d+")  # the group names that an audit writes


def find_images(path: str) -> Listing:
    """Return the images under `path`, with their groups if it has a `groups.csv`.

    The columns of `groups.csv` are image and group.

    Raises:
        DataError: the path, its layout or its `groups.csv` is wrong.
    """
    root = resolve_path(path)
    check_writable(str(root), "the path of the data set,")
    names = list_folders(root)
    if not names:
        raise DataError(
            f"{root} has no class folders: make one folder per class and put its images there"
        )
    parts = [name for name in names if name.lower() in PARTS]
    folders = _list_part_folders(root, names, parts) if parts else [ClassFolder(n) for n in names]
    entries, notes = list_images(root, folders)
    places = ["", *parts]
    notes += note_stray_images(root, places) + note_own_folders(root / place for place in places)
    groups = _read_groups(root / GROUPS_FILE, entries)
    if groups is None:
        return Listing(str(root), root, entries, notes=notes)
    is_from_audit = all(AUDIT_GROUP_NAME.fullmatch(groups[entry.image]) for entry in entries)
    groups_from = f"{GROUPS_FILE}, as found by an audit" if is_from_audit else GROUPS_FILE
    return Listing(str(root), root, entries, groups, (GROUPS_FILE,), groups_from, notes=notes)


def _list_part_folders(root: Path, names: list[str], parts: list[str]) -> list[ClassFolder]:
    others = sorted(set(names) - set(parts))
    if others:
        raise DataError(
            f"{root} mixes parts ({', '.join(parts)}) with other folders ({', '.join(others)}): "
            "keep class folders in train, test and val folders only, or have none of these"
        )
    labels = {part: list_folders(root / part) for part in parts}
    empty_parts = [part for part in parts if not labels[part]]
    if empty_parts:
        raise DataError(f"{root / empty_parts[0]} has no class folders: make one folder per class")
    return [
        ClassFolder(label, PARTS[part.lower()], part) for part in parts for label in labels[part]
    ]


def _read_groups(file: Path, entries: Iterable[Entry]) -> dict[str, str] | None:
    """Return the group of each image, or None if there is no such file."""
    if not os.path.lexists(file):
        _check_no_other_spelling(file)
        return None
    images = [entry.image for entry in entries]
    groups = _parse_groups(file, set(images))
    missing = [image for image in images if image not in groups]
    if missing:
        raise DataError(
            f"{file} names no group for {len(missing)} images, first {missing[0]!r}: "
            "give one line per image, with its path relative to that folder"
        )
    return groups


def _check_no_other_spelling(file: Path) -> None:
    """Raise DataError if a neighbor's name differs by case or blanks only."""
    for other in file.parent.iterdir():
        if other.name != file.name and other.name.lower().replace(" ", "") == file.name:
            raise DataError(f"{other} is not read as groups: rename it to {file.name}")


def _parse_groups(file: Path, images: Collection[str]) -> dict[str, str]:
    groups: dict[str, str] = {}
    for line, row in enumerate(_read_rows(file), start=2):
        image = row.get("image") or ""
        group = (row.get("group") or "").strip()
        # in the name of an image that exists, blanks and backslashes belong to the name
        if image not in images:
            image = image.strip().replace("\\", "/")
        if not image or not group:
            raise DataError(f"{file} line {line}: needs the columns image and group, both filled")
        if not (image in images or _is_unicode(image)) or not _is_unicode(group):
            raise DataError(f"cannot read {file} line {line}: save it as CSV in UTF-8")
        if groups.setdefault(image, group) != group:
            raise DataError(f"{file} line {line}: {image!r} has two groups; keep one")
    return groups


def _read_rows(file: Path) -> list[dict[str, str]]:
    if reason := explain_unreadable(file):
        raise DataError(f"{file} {reason}")
    try:
        # a file's name may hold any bytes, and the same bytes stand in its line
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or ()
            rows = list(reader)
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot read {file}: {error}; save it as CSV in UTF-8") from None
    if not all(_is_unicode(name) for name in columns):
        raise DataError(f"cannot read {file}: save it as CSV in UTF-8")
    return rows


def _is_unicode(text: str) -> bool:
    """Return whether every byte of the text could be decoded."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
