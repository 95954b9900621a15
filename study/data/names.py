"""Check the names of class folders, and escape file names."""

import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Set

from study.common.errors import DataError

LINE_SEPARATORS = "\u2028\u2029"


def escape_name(name: str) -> str:
    r"""Write a name with escapes for what not every file can hold.

    These are bytes that are no UTF-8 and control characters, line breaks among them. All other
    names stay as they are.

    >>> escape_name("two\nlines.png")
    'two\\nlines.png'
    """
    if name.isprintable():
        return name
    return "".join(_escape_character(c) if _is_unwritable(c) else c for c in name)


def format_audit_command(dataset: str) -> str:
    """Return the command that audits a data set, ready for a shell."""
    return f"python -m study.data.audit --dataset {shlex.quote(dataset)}"


def check_name(name: str, what: str) -> None:
    """Check that a name needs no escapes.

    Args:
        name: of a class folder, or the path of a data set.
        what: noun for it in the message.

    Raises:
        DataError: it holds bytes that are no UTF-8, or control characters.
    """
    if escape_name(name) != name:
        raise DataError(
            f"{what} {name!r} has a line break, a control character or a byte that is no UTF-8 in "
            "its name, which a run cannot record: rename it"
        )


def check_similar_labels(parts_of_label: Mapping[str, Set[str]]) -> list[str]:
    """Check that no class stands under two names that look alike.

    Names look alike if they differ by case, blanks or Unicode form only.

    Args:
        parts_of_label: the official parts that each class is in.

    Returns:
        Notes on classes that look alike but are all in the same parts, as `a` and `A` of a data set
        of letters are.

    Raises:
        DataError: classes look alike, and not all are in the same parts. Or they look the same.
    """
    labels_by_look: dict[str, list[str]] = defaultdict(list)
    for label in sorted(parts_of_label):
        labels_by_look[_normalize_label(label).casefold()].append(label)
    notes = []
    for labels in labels_by_look.values():
        if len(labels) == 1:
            continue
        names = " and ".join(_format_label(label, parts_of_label[label]) for label in labels)
        difference = _name_difference(labels)
        is_in_same_parts = len({frozenset(parts_of_label[label]) for label in labels}) == 1
        if difference != "case" or not is_in_same_parts:
            joined = unicodedata.normalize("NFC", labels[0].strip())
            raise DataError(
                f"the classes {names} differ by {difference} only: if they are one class, rename "
                f"their folders to {joined!r}, and if they are several, give them other names"
            )
        notes.append(f"classes {names} differ by case only and are trained as {len(labels)}")
    return notes


def _format_label(label: str, parts: Set[str]) -> str:
    """Return a label in ASCII, which shows differences, and the parts it is in."""
    place = ", ".join(sorted(parts - {""}))
    return f"{label!a} (in {place})" if place else ascii(label)


def _normalize_label(label: str) -> str:
    """Return a label without blanks and invisible characters, in one Unicode form."""
    text = unicodedata.normalize("NFKC", label)
    return "".join(c for c in text if not c.isspace() and unicodedata.category(c) != "Cf")


def _name_difference(labels: Iterable[str]) -> str:
    """Return what some labels that look alike differ by."""
    if len({label.casefold() for label in labels}) == 1:
        return "case"
    if len({"".join(label.split()) for label in labels}) == 1:
        return "blanks"
    if len({unicodedata.normalize("NFC", label) for label in labels}) == 1:
        return "Unicode form"
    return "case, blanks or Unicode form"


def _is_unwritable(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or character in LINE_SEPARATORS


def _escape_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
