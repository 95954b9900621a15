"""Summarize the records of all images.

Counts kinds of files, finds equal images and groups, and compares groups with known ones.
"""

import statistics
from collections import Counter
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from scipy.cluster.hierarchy import DisjointSet

from study.data.audit.scan import ImageRecord
from study.data.listing import Entry
from study.data.listing import FoundBy

ImageSet = tuple[str, ...]  # image ids, sorted


@dataclass(frozen=True)
class Class:
    """The file counts of one class."""

    name: str
    listed: int
    usable: int
    parts: dict[str, int]  # official part -> listed files; empty if the data set has no parts
    groups: int  # groups that its usable images are in


@dataclass(frozen=True)
class Files:
    """Counts of all listed files.

    The counts by kind are of the usable files only, most frequent first.
    """

    listed: int
    usable: int
    bytes: int
    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[str, int]  # "320x240" (width x height in pixels) -> images
    unusable: list[tuple[str, str]]  # image and reason
    unusual: list[tuple[str, str]]  # image and what training leaves out of it or scales


@dataclass(frozen=True)
class Groups:
    """The groups that splits should keep together, over the usable images."""

    source: str  # what a group is and how it is known
    known: bool  # True: the data set has them; False: this audit found them
    found_by: FoundBy  # what an audit, this or an earlier one, found them by
    count: int
    largest: int  # images
    median: float
    members: dict[str, ImageSet]  # of groups of two images or more, largest first


@dataclass(frozen=True)
class Agreement:
    """The agreement of near-duplicates with the known groups, over pairs of images."""

    found_pairs: int  # pairs in one group that the audit found
    known_pairs: int  # pairs in one known group
    both: int
    precision: float | None  # both / found_pairs, 0 to 1
    recall: float | None  # both / known_pairs
    # Groups that the audit found and that hold images of several known groups.
    spanning: list[ImageSet]
    # The same for sets of equal pixels: a leak that the known groups do not prevent.
    identical_spanning: list[ImageSet]


def count_files(records: Sequence[ImageRecord]) -> Files:
    """Count the files that the records describe."""
    usable = [record for record in records if not record.reason]
    return Files(
        listed=len(records),
        usable=len(usable),
        bytes=sum(record.size for record in records),
        formats=_count_by_value(record.format for record in usable),
        modes=_count_by_value(record.mode for record in usable),
        sizes=_count_by_value(f"{record.width}x{record.height}" for record in usable),
        unusable=[(record.image, record.reason) for record in records if record.reason],
        unusual=[(record.image, record.form) for record in usable if record.form],
    )


def count_classes(entries: Sequence[Entry], group_of: Mapping[str, str]) -> list[Class]:
    """Count the files of each class, sorted by name.

    `group_of` has the usable images only.
    """
    members: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        members[entry.label].append(entry)
    classes = []
    for name, listed in sorted(members.items()):
        parts = _count_by_value(entry.part for entry in listed if entry.part)
        images = [entry.image for entry in listed if entry.image in group_of]
        groups = len({group_of[image] for image in images})
        classes.append(Class(name, len(listed), len(images), parts, groups))
    return classes


def _count_by_value(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def collect_sets(key_of: Mapping[str, str]) -> list[ImageSet]:
    """Return the sets of images that share a key, largest first, then by name."""
    members = defaultdict(list)
    for image, key in key_of.items():
        members[key].append(image)
    return sort_by_size(tuple(sorted(images)) for images in members.values() if len(images) > 1)


def sort_by_size(sets: Iterable[ImageSet]) -> list[ImageSet]:
    """Sort sets as reports list them: by size, then by first image."""
    return sorted(sets, key=lambda set_: (-len(set_), set_))


def add_twins(near: Iterable[ImageSet], twins: Sequence[ImageSet]) -> list[ImageSet]:
    """Add all twins to groups that hold one representative of each set of twins.

    Args:
        near: groups of images; of a set of twins only the first may be in one.
        twins: disjoint sets of equal images.
    """
    set_of = {set_[0]: set_ for set_ in twins}
    groups = [tuple(chain(*(set_of.pop(image, (image,)) for image in group))) for group in near]
    return sort_by_size(tuple(sorted(group)) for group in [*groups, *set_of.values()])


def name_groups(images: Iterable[str], groups: Sequence[ImageSet]) -> dict[str, str]:
    """Name a group for every image.

    Images of the given groups get `near-duplicates-01` and so on, each other image one of its own.
    No name is one that `groups_file` takes for that of a first audit.
    """
    names: dict[str, str] = {}
    width = len(str(len(groups)))
    for number, group in enumerate(groups, start=1):
        names.update(dict.fromkeys(group, f"near-duplicates-{number:0{width}}"))
    return {
        image: names.get(image) or f"single-image-{number:06}"
        for number, image in enumerate(images, start=1)
    }


def join_groups(named: Mapping[str, str], *others: Mapping[str, str]) -> dict[str, str]:
    """Join groups that share an image, so that none of them is parted.

    Args:
        named: the group of some images, after which the joined groups are named: the first of
            their names in alphabetical order.
        others: other groups of all images. Their names are used where `named` has none.
    """
    partition: DisjointSet = DisjointSet()
    for number, group_of in enumerate((named, *others)):
        for image, group in group_of.items():
            partition.add(image)
            partition.add((number, group))
            partition.merge(image, (number, group))
    name_of = {}
    for members in partition.subsets():
        _, name = min(member for member in members if isinstance(member, tuple))
        name_of.update({image: name for image in members if isinstance(image, str)})
    return {image: name_of[image] for group_of in others[:1] for image in group_of}


def count_groups(
    group_of: Mapping[str, str], source: str, known: bool, found_by: FoundBy
) -> Groups:
    """Count the groups and their sizes.

    `group_of` has the usable images only.
    """
    sizes = Counter(group_of.values())
    members = collect_sets(group_of)
    return Groups(
        source=source,
        known=known,
        found_by=found_by,
        count=len(sizes),
        largest=max(sizes.values(), default=0),
        median=float(statistics.median(sizes.values())) if sizes else 0.0,
        members={group_of[group[0]]: group for group in members},
    )


def measure_agreement(
    near: Sequence[ImageSet], identical: Sequence[ImageSet], group_of: Mapping[str, str]
) -> Agreement:
    """Compare the groups that the audit found with the known ones.

    Args:
        near: groups of near-duplicates.
        identical: sets of images with equal pixels.
        group_of: the known group of each usable image.
    """
    known_sizes = Counter(group_of.values()).values()
    known_counts = [Counter(group_of[image] for image in group) for group in near]
    both = sum(_count_pairs(count) for counts in known_counts for count in counts.values())
    found_pairs = sum(_count_pairs(len(group)) for group in near)
    known_pairs = sum(_count_pairs(count) for count in known_sizes)
    return Agreement(
        found_pairs=found_pairs,
        known_pairs=known_pairs,
        both=both,
        precision=round(both / found_pairs, 4) if found_pairs else None,
        recall=round(both / known_pairs, 4) if known_pairs else None,
        spanning=select_spanning(near, group_of),
        identical_spanning=select_spanning(identical, group_of),
    )


def select_spanning(sets: Iterable[ImageSet], key_of: Mapping[str, str]) -> list[ImageSet]:
    """Return the sets whose images do not all have the same key."""
    return [set_ for set_ in sets if len({key_of[image] for image in set_}) > 1]


def _count_pairs(count: int) -> int:
    return count * (count - 1) // 2
