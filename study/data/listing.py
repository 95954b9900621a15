"""The listing of a data set, made before any of its files is read."""

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Literal
from typing import NamedTuple

# What an audit found groups by, "" where groups are known from elsewhere. Near-duplicates alone do
# not tell that two different pictures show one patient.
FoundBy = Literal["", "near-duplicates", "file names"]


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
    groups_found_by: FoundBy = ""
    why_no_groups: str = ""  # if the groups are not known and a user may expect them
    # pooled and grouped splits: of several images of one class and file name, use the last one only
    one_per_name: bool = False
    # Version of the rules of grouping or splitting, if earlier rules split these images otherwise.
    # It enters the digest, so that no earlier run counts as one of these.
    rules: str = ""
    notes: tuple[str, ...] = ()  # what a user should know of the files, one sentence each


@dataclass(frozen=True)
class DataSet:
    """The function that finds a data set, and the rules that apply to this set only."""

    find: Callable[[], Listing]
    # official split: use the set's own val folder
    has_usable_val: bool = True
    # kind of split -> images in train, val and test of the report
    report_sizes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    image_count: int = 0  # image files of the complete set; 0 if it has no known number
