"""What every data set hands over: which images there are, their class, their part, their group."""

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
    """The files of a data set, before any is read."""

    source: str
    root: Path
    entries: tuple[Entry, ...]  # sorted by image
    groups: Mapping[str, str] | None = None  # image -> patient or original
    extras: tuple[str, ...] = ()  # other files under root that decide results, relative
    groups_from: str = ""  # what a group is and how it is known, in a few words; "" without groups


@dataclass(frozen=True)
class DataSet:
    """How to find a data set, and the rules that are its own."""

    find: Callable[[], Listing]
    one_per_name: bool = False  # pooled: of images of one class and file name only the last counts
    own_val: bool = True  # official: whether the set's own val folder is of use
    report_sizes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def folders(path: Path) -> list[str]:
    """Sorted names of the visible folders in `path`; hidden ones and `__MACOSX` are junk.

    Raises:
        DataError: `path` is missing, not a folder, or may not be read.
    """
    return sorted(entry.name for entry in _scan(path) if _is_folder(entry))


def entries_of(root: Path, label: str, part: str = "", part_folder: str = "") -> list[Entry]:
    """The image files directly in a class folder, by extension, unsorted.

    Raises:
        DataError: the folder may not be read, or holds folders (whose images would be lost).
    """
    where = "/".join(name for name in (part_folder, label) if name)
    found = []
    for file in _scan(root / where):
        if _is_folder(file):
            raise DataError(
                f"class folder {root / where} holds a folder, {file.name!r}: "
                "put all images of a class directly in its folder, and give the folder above"
            )
        if file.name.lower().endswith(EXTENSIONS):
            found.append(Entry(f"{where}/{file.name}", label, part))
    return found


def checked(root: Path, entries: Iterable[Entry], labels: Iterable[str]) -> tuple[Entry, ...]:
    """The entries sorted by image.

    Raises:
        DataError: fewer than two classes, or a class without an image file.
    """
    labels = sorted(set(labels))
    if len(labels) < 2:
        raise DataError(f"{root} has one class only, {labels[0]!r}: a study needs two or more")
    entries = sorted(entries)
    empty = sorted(set(labels) - {entry.label for entry in entries})
    if empty:
        raise DataError(
            f"class {empty[0]!r} in {root} has no image: add some "
            f"({', '.join(e[1:] for e in EXTENSIONS)}) or remove its folder"
        )
    return tuple(entries)


def _scan(path: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as found:
            return [e for e in found if not e.name.startswith(".") and e.name != "__MACOSX"]
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
    except OSError:  # a link to itself
        return False
