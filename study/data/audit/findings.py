"""What the records of all images say together: kinds of files, equal images, groups, agreement."""

import statistics
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from study.data.audit.scan import Record
from study.data.listing import Entry

Set = tuple[str, ...]  # image ids, sorted


@dataclass(frozen=True)
class Class:
    """One class's files."""

    name: str
    listed: int
    usable: int
    parts: dict[str, int]  # official part -> listed files; empty if the set has no parts
    groups: int  # groups that its usable images are in


@dataclass(frozen=True)
class Files:
    """All listed files. The counts by kind are of the usable ones, most frequent first."""

    listed: int
    usable: int
    bytes: int
    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[str, int]  # "320x240" (width x height in pixels) -> images
    unusable: list[tuple[str, str]]  # image and reason


@dataclass(frozen=True)
class Groups:
    """The groups that splits should keep together, over the usable images."""

    source: str  # what a group is and how it is known
    known: bool  # whether the data set has them; else they were found here
    count: int
    largest: int  # images
    median: float
    members: dict[str, Set]  # of groups of two images or more, largest first


@dataclass(frozen=True)
class Agreement:
    """How well the near-duplicates found fit the known groups, over pairs of images."""

    found_pairs: int  # pairs in one group that was found
    known_pairs: int  # pairs in one known group
    both: int
    precision: float | None  # both / found_pairs, 0 to 1
    recall: float | None  # both / known_pairs
    spanning: list[Set]  # groups found that hold images of several known groups
    identical_spanning: list[Set]  # the same for sets of equal pixels: a leak groups do not cover


def files_of(records: Sequence[Record]) -> Files:
    """Counts over the records."""
    usable = [record for record in records if not record.reason]
    return Files(
        listed=len(records),
        usable=len(usable),
        bytes=sum(record.size for record in records),
        formats=_counted(record.format for record in usable),
        modes=_counted(record.mode for record in usable),
        sizes=_counted(f"{record.width}x{record.height}" for record in usable),
        unusable=[(record.image, record.reason) for record in records if record.reason],
    )


def classes_of(entries: Sequence[Entry], group_of: Mapping[str, str]) -> list[Class]:
    """The classes by name. `group_of` has the usable images only."""
    members: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        members[entry.label].append(entry)
    found = []
    for name, listed in sorted(members.items()):
        parts = _counted(entry.part for entry in listed if entry.part)
        images = [entry.image for entry in listed if entry.image in group_of]
        groups = len({group_of[image] for image in images})
        found.append(Class(name, len(listed), len(images), parts, groups))
    return found


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def sets_of(key_of: Mapping[str, str]) -> list[Set]:
    """The images that share a key with another one: largest set first, then by name."""
    members = defaultdict(list)
    for image, key in key_of.items():
        members[key].append(image)
    return largest_first(tuple(sorted(set_)) for set_ in members.values() if len(set_) > 1)


def largest_first(sets: Iterable[Set]) -> list[Set]:
    """In the order of a report: by size, then by first image."""
    return sorted(sets, key=lambda set_: (-len(set_), set_))


def with_twins(near: Iterable[Set], twins: Sequence[Set]) -> list[Set]:
    """Groups found among one representative of each set of twins, with all the twins in them.

    Args:
        near: groups of images; of a set of twins only the first may be in one.
        twins: disjoint sets of equal images.
    """
    set_of = {set_[0]: set_ for set_ in twins}
    groups = [tuple(chain(*(set_of.pop(image, (image,)) for image in group))) for group in near]
    return largest_first(tuple(sorted(group)) for group in [*groups, *set_of.values()])


def group_names(images: Iterable[str], found: Sequence[Set]) -> dict[str, str]:
    """A group for every image: `near-01` and so on for those found, else one of its own."""
    names, width = {}, len(str(len(found)))
    for number, group in enumerate(found, start=1):
        names.update(dict.fromkeys(group, f"near-{number:0{width}}"))
    return {
        image: names.get(image) or f"single-{number:06}"
        for number, image in enumerate(images, start=1)
    }


def groups_of(group_of: Mapping[str, str], source: str, known: bool) -> Groups:
    """Their number and sizes. `group_of` has the usable images only."""
    sizes = Counter(group_of.values())
    members = sets_of(group_of)
    return Groups(
        source=source,
        known=known,
        count=len(sizes),
        largest=max(sizes.values(), default=0),
        median=float(statistics.median(sizes.values())) if sizes else 0.0,
        members={group_of[group[0]]: group for group in members},
    )


def agreement_of(
    found: Sequence[Set], identical: Sequence[Set], group_of: Mapping[str, str]
) -> Agreement:
    """Compares found groups with known ones, which `group_of` gives for the usable images."""
    known = Counter(group_of.values()).values()
    inside = [Counter(group_of[image] for image in group) for group in found]
    both = sum(_pairs(count) for counts in inside for count in counts.values())
    found_pairs = sum(_pairs(len(group)) for group in found)
    known_pairs = sum(_pairs(count) for count in known)
    return Agreement(
        found_pairs=found_pairs,
        known_pairs=known_pairs,
        both=both,
        precision=round(both / found_pairs, 4) if found_pairs else None,
        recall=round(both / known_pairs, 4) if known_pairs else None,
        spanning=spanning(found, group_of),
        identical_spanning=spanning(identical, group_of),
    )


def spanning(sets: Iterable[Set], key_of: Mapping[str, str]) -> list[Set]:
    """The sets whose images do not all have the same key."""
    return [set_ for set_ in sets if len({key_of[image] for image in set_}) > 1]


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
