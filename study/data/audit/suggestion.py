"""Groups that file names suggest, and what the splits leak if they are patients.

Only a person can tell whether they are.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from study.data.audit.file_names import match_groups
from study.data.audit.file_names import Pattern
from study.data.audit.file_names import suggest_patterns
from study.data.audit.findings import collect_sets
from study.data.audit.findings import ImageSet
from study.data.audit.findings import join_groups
from study.data.audit.findings import select_spanning
from study.data.audit.splits import examine_split
from study.data.audit.splits import SplitFacts
from study.data.audit.splits import SPLITS
from study.data.listing import Entry
from study.data.prepare import Samples


@dataclass(frozen=True)
class NamePattern:
    """A pattern that many file names share."""

    regex: str  # for --groups-from
    image: str  # one that it matches
    group: str  # of this image
    images: int
    groups: int


@dataclass(frozen=True)
class Suggestion:
    """The groups that the names of the usable files suggest."""

    patterns: list[NamePattern]
    groups: int
    unmatched: list[str]  # images whose names fit no pattern
    spanning: list[ImageSet]  # near-duplicates that are in several of the groups
    # The splits as they are without these groups, and the leak by these, joined by near-duplicates.
    protocols: list[SplitFacts]
    grouped: SplitFacts  # the split that keeps these groups together


def suggest_groups(
    entries: Sequence[Entry],
    samples: Samples,
    near: Sequence[ImageSet],
    group_of: Mapping[str, str],
) -> Suggestion | None:
    """Return the groups that file names suggest, or None if they suggest none.

    Args:
        entries: all files.
        samples: the usable images.
        near: groups of near-duplicates among these.
        group_of: the group of each usable image without the names.
    """
    patterns = suggest_patterns(entries)
    named = match_groups(samples.images, patterns)
    if not named:
        return None
    joined = join_groups(named, group_of)
    named_near = [tuple(image for image in set_ if image in named) for set_ in near]
    return Suggestion(
        patterns=_describe_patterns(samples.images, patterns),
        groups=len(set(named.values())),
        unmatched=[image for image in samples.images if image not in named],
        spanning=select_spanning(named_near, named),
        protocols=[examine_split(name, samples, group_of, joined) for name in SPLITS],
        grouped=examine_split("grouped", samples, joined),
    )


def _describe_patterns(images: Sequence[str], patterns: Sequence[Pattern]) -> list[NamePattern]:
    described = []
    rest = list(images)
    for pattern in patterns:
        group_of = match_groups(rest, [pattern])
        rest = [image for image in rest if image not in group_of]
        if not group_of:
            continue
        largest = next(iter(collect_sets(group_of)), ()) or tuple(group_of)
        image = largest[0]
        count = len(set(group_of.values()))
        described.append(NamePattern(pattern.pattern, image, group_of[image], len(group_of), count))
    return described
