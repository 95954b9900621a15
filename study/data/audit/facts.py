"""The result of an audit, which is printed, drawn as a page and stored as JSON."""

import dataclasses
import json
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from study.common.words import pluralize
from study.data.audit.file_names import match_groups
from study.data.audit.file_names import Pattern
from study.data.audit.findings import add_twins
from study.data.audit.findings import Agreement
from study.data.audit.findings import Class
from study.data.audit.findings import collect_sets
from study.data.audit.findings import count_classes
from study.data.audit.findings import count_files
from study.data.audit.findings import count_groups
from study.data.audit.findings import Files
from study.data.audit.findings import Groups
from study.data.audit.findings import ImageSet
from study.data.audit.findings import join_groups
from study.data.audit.findings import measure_agreement
from study.data.audit.findings import name_groups
from study.data.audit.findings import select_spanning
from study.data.audit.scan import ImageRecord
from study.data.audit.splits import examine_split
from study.data.audit.splits import SplitFacts
from study.data.audit.splits import SPLITS
from study.data.audit.suggestion import suggest_groups
from study.data.audit.suggestion import Suggestion
from study.data.listing import FoundBy
from study.data.listing import Listing
from study.data.prepare import build_samples
from study.data.prepare import Samples

FOUND = "near-duplicates found by this audit"
FROM_NAMES = "file names, by --groups-from, and near-duplicates"


@dataclass(frozen=True)
class Audit:
    """The facts about a data set.

    Images are named by their ids, which are paths relative to the image root.
    """

    dataset: str  # "chest", "blood", "demo" or "folder:NAME-DIGEST"
    digest: str  # as training records it
    notes: tuple[str, ...]  # on files left out, and on groups that are not known
    files: Files
    classes: list[Class]
    identical_bytes: list[ImageSet]
    identical_pixels: list[ImageSet]  # sets of equal pixels, not all of equal bytes
    near: list[ImageSet]  # groups of near-duplicates, equal images among them
    near_limits: str  # what the search cannot find
    mixed: list[ImageSet]  # of these groups, those with images of several classes
    groups: Groups
    # of `near` with the data set's own groups; None if it has none but what an audit found
    agreement: Agreement | None
    protocols: list[SplitFacts]
    suggestion: Suggestion | None  # of other groups by file names, if groups are near-duplicates

    def as_json(self) -> str:
        """Return the audit as JSON.

        Keys are in the order of declaration. Names are in ASCII, with bytes that are no text
        written as \\udcXX.
        """
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


@dataclass(frozen=True)
class ImageEvidence:
    """The evidence of an audit: what reading the images gave, before any conclusion."""

    dataset: str  # as it may be shown
    digest: str
    listing: Listing
    hashes: Mapping[str, str]  # SHA-256 of each listed file
    records: Sequence[ImageRecord]
    near: Sequence[ImageSet]  # groups among `drop_repeated_images`
    near_limits: str
    patterns: Sequence[Pattern] = ()  # of --groups-from, which give the listing's groups

    @cached_property
    def twins(self) -> list[ImageSet]:
        """Return the sets of usable images with equal pixels."""
        return find_twins(self.records)

    @cached_property
    def groups(self) -> list[ImageSet]:
        """Return the groups of near-duplicates, with all twins added."""
        return add_twins(self.near, self.twins)

    @cached_property
    def group_of(self) -> dict[str, str]:
        """Return the group of every listed image.

        These are the data set's own groups if it has any, else those that the audit found.
        """
        images = [entry.image for entry in self.listing.entries]
        if self.listing.groups is None:
            return name_groups(images, self.groups)
        return {image: self.listing.groups[image] for image in images}

    @property
    def found_by(self) -> FoundBy:
        """Return what an audit, this or an earlier one, found the groups by."""
        return "near-duplicates" if self.listing.groups is None else self.listing.groups_found_by

    @cached_property
    def samples(self) -> Samples:
        """Return the usable images as training reads them."""
        unusable = {record.image for record in self.records if record.reason}
        return build_samples(self.dataset, self.listing, unusable)


def group_by_names(evidence: ImageEvidence, patterns: Sequence[Pattern]) -> ImageEvidence:
    """Return the evidence with groups of file names, joined by near-duplicates.

    Equal files under the names of two patients are thus never parted.
    """
    images = [entry.image for entry in evidence.listing.entries]
    named = match_groups(images, patterns)
    groups = join_groups(named, name_groups(images, evidence.groups))
    named_near = [tuple(image for image in set_ if image in named) for set_ in evidence.groups]
    listing = dataclasses.replace(
        evidence.listing,
        groups=groups,
        groups_from=FROM_NAMES,
        groups_found_by="file names",
        why_no_groups="",
        notes=(*evidence.listing.notes, *_note_joined(select_spanning(named_near, named), named)),
    )
    return dataclasses.replace(evidence, listing=listing, patterns=patterns)


def _note_joined(sets: Sequence[ImageSet], named: Mapping[str, str]) -> list[str]:
    if not sets:
        return []
    first, second = sorted({named[image] for image in sets[0]})[:2]
    return [
        f"near-duplicates join patients that file names keep apart, such as {first} and {second} "
        f"({pluralize(len(sets), 'group')}): they count as one group"
    ]


def find_twins(records: Sequence[ImageRecord]) -> list[ImageSet]:
    """Return the sets of usable images with equal pixels."""
    return collect_sets({record.image: record.pixels for record in records if not record.reason})


def drop_repeated_images(records: Sequence[ImageRecord]) -> list[str]:
    """Return the usable images, but only the first of those with equal pixels."""
    repeats = {image for twins in find_twins(records) for image in twins[1:]}
    return [r.image for r in records if not r.reason and r.image not in repeats]


def _list_notes(listing: Listing) -> tuple[str, ...]:
    reason = listing.why_no_groups
    return (*listing.notes, f"the groups are not known: {reason}") if reason else listing.notes


def build_audit(evidence: ImageEvidence) -> Audit:
    """Draw all conclusions from what was read."""
    group_of = {image: evidence.group_of[image] for image in evidence.samples.images}
    bytes_of = {image: evidence.hashes[image] for image in group_of}
    label_of = {entry.image: entry.label for entry in evidence.listing.entries}
    found_by = evidence.found_by
    is_minimum = found_by == "near-duplicates"
    samples = evidence.samples
    return Audit(
        dataset=evidence.dataset,
        digest=evidence.digest,
        notes=_list_notes(evidence.listing),
        files=count_files(evidence.records),
        classes=count_classes(evidence.listing.entries, group_of),
        identical_bytes=collect_sets(bytes_of),
        identical_pixels=select_spanning(evidence.twins, bytes_of),
        near=evidence.groups,
        near_limits=evidence.near_limits,
        mixed=select_spanning(evidence.groups, label_of),
        groups=count_groups(
            group_of,
            evidence.listing.groups_from or FOUND,
            known=evidence.listing.groups is not None and not evidence.patterns,
            found_by=found_by,
        ),
        agreement=(
            None if found_by else measure_agreement(evidence.groups, evidence.twins, group_of)
        ),
        protocols=[
            examine_split(name, samples, group_of, is_minimum=is_minimum) for name in SPLITS
        ],
        suggestion=(
            suggest_groups(evidence.listing.entries, samples, evidence.groups, group_of)
            if is_minimum
            else None
        ),
    )
