"""List the images in directories, without folders that belong to no data set."""

import functools
import os
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from study.common.cache import cache_dir
from study.common.errors import DataError
from study.data.decode import FORMATS
from study.data.names import escape_name

# The other endings that Pillow knows for the formats that `decode` reads follow in `is_image_name`.
USUAL_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# Files that describe images. A class may hold more of them than images.
SIDE_ENDINGS = (".csv", ".db", ".html", ".ini", ".json", ".md", ".txt", ".xml", ".yaml", ".yml")
# The folders that the study's commands write into a working directory, MLflow's among them.
OWN_FOLDERS = ("audits", "exports", "mlartifacts", "mlruns")
FOREIGN_FOLDERS = ("__MACOSX", "__pycache__", *OWN_FOLDERS)


class ListedTree(NamedTuple):
    """The relative paths of a folder's images, and notes on what is left out.

    Paths are sorted and have forward slashes.
    """

    images: list[str]
    notes: list[str]


def list_folders(path: Path) -> list[str]:
    """Return the sorted names of the folders in `path`.

    Left out are hidden folders, the `FOREIGN_FOLDERS` and our cache folder.

    Raises:
        DataError: `path` is missing, not a folder, or may not be read; or it holds a link that may
            stand for a folder and leads nowhere.
    """
    entries = scan_folder(path)
    for entry in entries:
        _check_link(entry)
    return sorted(entry.name for entry in entries if is_folder(entry))


def list_tree(folder: Path) -> ListedTree:
    """List the images in a folder and its subfolders, and count what is left out.

    Links are followed, but not into a folder that they lie in.

    Raises:
        DataError: the folder or a subfolder may not be read.
    """
    images: list[str] = []
    left_out: Counter[str] = Counter()
    own_folders: list[str] = []
    # each folder with the real paths of those that it lies in
    waiting: list[tuple[str, frozenset[str]]] = [("", frozenset())]
    while waiting:
        place, above = waiting.pop()
        real_path = os.path.realpath(folder / place)
        if real_path in above:
            continue
        own_folders += [f"{place}{n}" for n in OWN_FOLDERS if (folder / place / n).is_dir()]
        for item in scan_folder(folder / place):
            if is_folder(item):
                waiting.append((f"{place}{item.name}/", above | {real_path}))
            elif is_image_name(item.name):
                images.append(f"{place}{item.name}")
            else:
                left_out[get_ending(item.name)] += 1
    notes = [describe_left_out(left_out)] if left_out else []
    if own_folders:
        notes.append(f"left out: {', '.join(sorted(own_folders))}, which the study has written")
    return ListedTree(sorted(images), notes)


def note_own_folders(folders: Iterable[Path]) -> tuple[str, ...]:
    """Return notes on what our own commands wrote into folders of class folders."""
    paths = [str(folder / name) for folder in folders for name in OWN_FOLDERS]
    found = [path for path in paths if os.path.isdir(path)]  # noqa: PTH112
    return (f"not taken for classes: {', '.join(found)}, written by the study",) if found else ()


def is_foreign(name: str) -> bool:
    """Return whether a file or folder of that name belongs to no data set."""
    return name.startswith(".") or name in FOREIGN_FOLDERS


def is_image_name(name: str) -> bool:
    """Return whether a file's name has an ending of an image that `decode` reads."""
    return get_ending(name) in _list_image_endings()


def describe_left_out(endings: Mapping[str, int]) -> str:
    """Say how many files are left out, as `left out: 3 files (2 .dcm, 1 .txt)`."""
    count = sum(endings.values())
    counts = ", ".join(
        f"{number} {escape_name(ending) or 'without an ending'}"
        for ending, number in sorted(endings.items(), key=lambda item: (-item[1], item[0]))[:5]
    )
    return f"left out: {count} {'file' if count == 1 else 'files'} ({counts})"


@functools.cache
def _list_image_endings() -> frozenset[str]:
    # MPO is a JPEG file with several pictures, and Pillow opens it as one
    formats = (*FORMATS, "MPO")
    registered = Image.registered_extensions()
    return frozenset(ending for ending, name in registered.items() if name in formats)


def get_ending(name: str) -> str:
    """Return the ending of a file's name in lower case, such as `.png`."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - pathlib takes five times as long


def count_endings(names: Iterable[str]) -> Counter[str]:
    """Count the endings of files' names."""
    return Counter(get_ending(name) for name in names)


def scan_folder(path: Path) -> list["os.DirEntry[str]"]:
    """Return the files and folders in `path` that may belong to a data set.

    Raises:
        DataError: `path` is missing, not a folder, or may not be read.
    """
    cache = os.path.realpath(cache_dir())
    place = os.path.realpath(path)
    try:
        with os.scandir(path) as items:
            return [
                item
                for item in items
                if not is_foreign(item.name) and f"{place}{os.sep}{item.name}" != cache
            ]
    except FileNotFoundError:
        raise DataError(f"no folder at {path}: check the path") from None
    except NotADirectoryError:
        raise DataError(f"{path} is not a folder: give the folder of class folders") from None
    except OSError as error:
        raise DataError(
            f"cannot read the folder {path} ({error.strerror}): check its permissions"
        ) from None


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def _check_link(entry: "os.DirEntry[str]") -> None:
    """Raise DataError for a link that leads nowhere, unless its name is that of a file.

    Else the images of the folder that it stood for would be missing without a word.
    """
    is_file_name = is_image_name(entry.name) or get_ending(entry.name) in SIDE_ENDINGS
    if not entry.is_symlink() or is_file_name:
        return
    try:
        entry.stat()
    except FileNotFoundError:
        reason = "to a folder that is not there"
    except OSError as error:  # such as one that points to itself
        reason = f"that cannot be followed ({error.strerror})"
    else:
        return
    raise DataError(f"{entry.path} is a link {reason}: correct the link, or remove it")
