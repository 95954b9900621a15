"""Find a user's own images.

The folder holds one folder per class, or train, test (and val) folders of class folders.
"""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from study.common.errors import DataError
from study.common.paths import resolve_path
from study.data.class_folders import ClassFolder
from study.data.class_folders import list_images
from study.data.class_folders import note_stray_images
from study.data.directory import list_folders
from study.data.directory import note_own_folders
from study.data.groups_file import GROUPS_FILE
from study.data.groups_file import read_groups
from study.data.listing import Listing
from study.data.names import check_name

PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}


def find_images(path: str) -> Listing:
    """Return the images under `path`, with their groups if it has a `groups.csv`.

    The columns of `groups.csv` are image and group.

    Raises:
        DataError: the path, its layout, or its `groups.csv` or where that lies is wrong.
    """
    root = resolve_path(path)
    check_name(str(root), "the data set's path")
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
    listing = Listing(str(root), root, entries, notes=notes)
    known = read_groups(root / GROUPS_FILE, entries)
    if known is None:
        _check_no_groups_in_parts(root, parts)
        return listing
    return dataclasses.replace(
        listing,
        groups=known.group_of,
        extras=(GROUPS_FILE,),
        groups_from=known.source,
        groups_found_by=known.found_by,
    )


def _check_no_groups_in_parts(root: Path, parts: Iterable[str]) -> None:
    """Raise DataError if a `groups.csv` lies in a part's folder, where it is not read."""
    for part in parts:
        file = root / part / GROUPS_FILE
        if os.path.lexists(file):
            raise DataError(
                f"{file} is not read as groups: move it to {root}, and begin the paths in it with "
                f"{part}/, as in {part}/CLASS/1.png"
            )


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
