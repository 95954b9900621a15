"""Read and write `groups.csv`, which names the group of each image of a folder.

The columns are image and group. A file that an audit wrote has a third one, found_by, which says
what the audit found the groups by, so that nobody treats them as verified.
"""

import csv
import io
import os
import re
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.common.errors import DataError
from study.data.digest import explain_unreadable
from study.data.listing import Entry
from study.data.listing import FoundBy

GROUPS_FILE = "groups.csv"
FOUND_BY = "found_by"  # the column that only an audit writes
_TEXTS: dict[FoundBy, str] = {
    "near-duplicates": "audit, by near-duplicates",
    "file names": "audit, from file names",
}
# The group names of the first audits, which wrote no such column. Later audits write other names,
# so that a file from which a user removed the column is not taken for one of the first.
_NAMES_OF_FIRST_AUDITS = re.compile(r"(near|single)-\d+")


@dataclass(frozen=True)
class KnownGroups:
    """The content of a `groups.csv`."""

    group_of: dict[str, str]  # by image
    found_by: FoundBy

    @property
    def source(self) -> str:
        """Return where the groups are from, in a few words."""
        origin = f", written by an {_TEXTS[self.found_by]}" if self.found_by else ""
        return f"{GROUPS_FILE}{origin}"


def read_groups(file: Path, entries: Iterable[Entry]) -> KnownGroups | None:
    """Return the groups of the images, or None if there is no such file.

    Raises:
        DataError: the file cannot be read, or names no group for some image.
    """
    if not os.path.lexists(file):
        _check_no_other_spelling(file)
        return None
    images = [entry.image for entry in entries]
    rows = _read_rows(file)
    groups = _parse_groups(file, rows, set(images))
    missing = [image for image in images if image not in groups]
    if missing:
        by_audit = any((row.get(FOUND_BY) or "").startswith("audit") for row in rows)
        again = ", or move the file away and audit the images again" if by_audit else ""
        raise DataError(
            f"{file} names no group for {len(missing)} images, first {missing[0]!r}: "
            f"give one line per image, with its path relative to {file.parent}{again}"
        )
    return KnownGroups(groups, _read_found_by(rows, [groups[image] for image in images]))


def format_groups_csv(group_of: Mapping[str, str], found_by: FoundBy) -> str:
    """Format the groups as the CSV file that `folder:PATH` reads.

    The columns are image, group and, if an audit found the groups, found_by.
    """
    text = [_TEXTS[found_by]] if found_by else []
    stream = io.StringIO()
    # Everything is quoted, because a name may hold commas, quotes and line ends.
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["image", "group", *([FOUND_BY] if found_by else [])])
    writer.writerows([image, group, *text] for image, group in group_of.items())
    return stream.getvalue()


def _check_no_other_spelling(file: Path) -> None:
    """Raise DataError if a neighbor's name differs by case or blanks only."""
    for other in file.parent.iterdir():
        if other.name != file.name and other.name.lower().replace(" ", "") == file.name:
            raise DataError(f"{other} is not read as groups: rename it to {file.name}")


def _read_found_by(rows: Sequence[Mapping[str, str]], groups: Iterable[str]) -> FoundBy:
    """Return what the groups were found by.

    Of several answers, this is the one that says least.
    """
    texts = {(row.get(FOUND_BY) or "").strip() for row in rows}
    audit_texts = {text for text in texts if text.startswith("audit")}
    has_column = any(FOUND_BY in row for row in rows)
    is_first_audits = not has_column and all(map(_NAMES_OF_FIRST_AUDITS.fullmatch, groups))
    if audit_texts - {_TEXTS["file names"]} or is_first_audits:
        return "near-duplicates"
    return "file names" if audit_texts else ""


def _parse_groups(
    file: Path, rows: Iterable[Mapping[str, str]], images: Collection[str]
) -> dict[str, str]:
    groups: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
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
