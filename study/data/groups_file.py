"""Read and write `groups.csv`, which names the group of each image of a folder.

The columns are image and group.
"""

import csv
import io
import os
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path

from study.common.errors import DataError
from study.data.digest import explain_unreadable
from study.data.listing import Entry

GROUPS_FILE = "groups.csv"


def read_groups(file: Path, entries: Iterable[Entry]) -> dict[str, str] | None:
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


def format_groups_csv(group_of: Mapping[str, str]) -> str:
    """Format the groups as CSV with the columns image,group.

    This is the file that `folder:PATH` reads.
    """
    stream = io.StringIO()
    # Everything is quoted, because a name may hold commas, quotes and line ends.
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(("image", "group"))
    writer.writerows(group_of.items())
    return stream.getvalue()


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
