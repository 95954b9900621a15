"""List the files of a data set with their classes, parts and groups."""

import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import NamedTuple

from study.common.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")


class Entry(NamedTuple):
    """One image file of a data set."""

    image: str  # path relative to the image root, with forward slashes
    label: str  # class name
    part: str  # official part in lower case, "" if the set has none


@dataclass(frozen=True)
class Listing:
    """The files of a data set, before any of them is read."""

    source: str
    root: Path
    entries: tuple[Entry, ...]  # sorted by image
    groups: Mapping[str, str] | None = None  # image -> patient or original
    extras: tuple[str, ...] = ()  # other files that affect results, relative to root
    # what a group is and where it is known from, in a few words; "" without groups
    groups_from: str = ""


@dataclass(frozen=True)
class DataSet:
    """The function that finds a data set, and the rules that apply to this set only."""

    find: Callable[[], Listing]
    # pooled split: of several images of one class and file name, use the last one only
    one_per_name: bool = False
    # official split: use the set's own val folder
    has_usable_val: bool = True
    # protocol -> images in train, val and test of the report
    report_sizes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def list_folders(path: Path) -> list[str]:
    """Return the sorted names of the folders in `path`.

    Hidden folders and `__MACOSX` are left out, because they are junk.

    Raises:
        DataError: `path` is missing, not a folder, or may not be read.
    """
    return sorted(entry.name for entry in _scan_folder(path) if _is_folder(entry))


def list_class_entries(
    root: Path, label: str, part: str = "", part_folder: str = ""
) -> list[Entry]:
    """Return the image files directly in a class folder, unsorted.

    A file is an image if it has one of the `EXTENSIONS`.

    Raises:
        DataError: the folder may not be read, or holds folders (whose images would be lost).
    """
    folder = "/".join(name for name in (part_folder, label) if name)
    entries = []
    for file in _scan_folder(root / folder):
        if _is_folder(file):
            raise DataError(
                f"class folder {root / folder} holds a folder, {file.name!r}: "
                "put all images of a class directly in its folder, and give the folder above"
            )
        if file.name.lower().endswith(EXTENSIONS):
            entries.append(Entry(f"{folder}/{file.name}", label, part))
    return entries


def check_entries(root: Path, entries: Iterable[Entry], labels: Iterable[str]) -> tuple[Entry, ...]:
    """Check that every class has an image, and return the entries sorted by image.

    Raises:
        DataError: fewer than two classes, or a class without an image file.
    """
    labels = sorted(set(labels))
    if len(labels) < 2:
        raise DataError(f"{root} has one class only, {labels[0]!r}: a study needs two or more")
    entries = sorted(entries)
    empty_labels = sorted(set(labels) - {entry.label for entry in entries})
    if empty_labels:
        raise DataError(
            f"class {empty_labels[0]!r} in {root} has no image: add some "
            f"({', '.join(extension[1:] for extension in EXTENSIONS)}) or remove its folder"
        )
    return tuple(entries)


def _scan_folder(path: Path) -> list["os.DirEntry[str]"]:
    """Return the files and folders in `path` that are neither hidden nor `__MACOSX`."""
    try:
        with os.scandir(path) as items:
            return [i for i in items if not i.name.startswith(".") and i.name != "__MACOSX"]
    except FileNotFoundError:
        raise DataError(f"no folder at {path}: check the path") from None
    except NotADirectoryError:
        raise DataError(f"{path} is not a folder: give the folder of class folders") from None
    except OSError as error:
        raise DataError(
            f"cannot read the folder {path} ({error.strerror}): check its permissions"
        ) from None


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False
