"""Format the tables, counts and names of an audit."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from study.common.words import format_percent
from study.common.words import pluralize
from study.data.audit.findings import ImageSet


@dataclass(frozen=True)
class Table:
    """A table. The first `left` columns are text, the others numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    more: int = 0  # rows left out


@dataclass(frozen=True)
class Section:
    """A heading with the lines and tables under it."""

    title: str
    lines: list[str]
    tables: list[Table] = field(default_factory=list)


def escape_unprintable(name: str) -> str:
    """Return a file's name as it may be shown.

    A name with odd characters gets quotes and escapes.
    """
    return name if name.isprintable() else repr(name)


def show_file_name(image: str) -> str:
    """Return an image's file name, without folders, as it may be shown."""
    return escape_unprintable(image.rsplit("/", 1)[-1])


def format_sets(sets: Sequence[ImageSet], word: str = "set") -> str:
    """Return `2 sets, 5 images in all`, or `none`."""
    if not sets:
        return "none"
    return f"{pluralize(len(sets), word)}, {sum(map(len, sets)):,} images in all"


def tabulate_sets(
    sets: Sequence[ImageSet], most_sets: int = 500, most_images: int = 4
) -> list[Table]:
    """Return a table of sets of images, or no table if there are none."""
    rows = []
    for images in sets[:most_sets]:
        names = ", ".join(map(escape_unprintable, images[:most_images]))
        if len(images) > most_images:
            names += f" and {len(images) - most_images:,} more"
        rows.append([names, format_number(len(images))])
    return [Table(["images", "count"], rows, more=len(sets) - len(rows))] if rows else []


def describe_share(share: float | None) -> str:
    """Return a share of 0 to 1 as `38.2 %`, or `unknown`."""
    return "unknown" if share is None else format_percent(share)


def format_number(count: int) -> str:
    """Return a number as `1,168`."""
    return f"{count:,}"
