"""The result of an audit, which is printed, drawn as a page and stored as JSON."""

import dataclasses
import json
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from study.data.audit.findings import add_twins
from study.data.audit.findings import Agreement
from study.data.audit.findings import agreement_of
from study.data.audit.findings import Class
from study.data.audit.findings import classes_of
from study.data.audit.findings import Files
from study.data.audit.findings import files_of
from study.data.audit.findings import Groups
from study.data.audit.findings import groups_of
from study.data.audit.findings import ImageSet
from study.data.audit.findings import name_groups
from study.data.audit.findings import sets_of
from study.data.audit.findings import spanning
from study.data.audit.scan import ImageRecord
from study.data.audit.splits import examine_split
from study.data.audit.splits import PROTOCOLS
from study.data.audit.splits import SplitFacts
from study.data.listing import Listing
from study.data.prepare import build_samples
from study.data.prepare import Samples

FOUND = "near-duplicates found by this audit"


@dataclass(frozen=True)
class Audit:
    """The facts about a data set.

    Images are named by their ids, which are paths relative to the image root.
    """

    dataset: str  # "chest", "blood", "demo" or "folder:NAME"
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
    agreement: Agreement | None  # of `near` with the data set's own groups; None if it has none
    protocols: list[SplitFacts]

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

    @cached_property
    def samples(self) -> Samples:
        """Return the usable images as training reads them."""
        unusable = {record.image for record in self.records if record.reason}
        return build_samples(self.dataset, self.listing, unusable)


def find_twins(records: Sequence[ImageRecord]) -> list[ImageSet]:
    """Return the sets of usable images with equal pixels."""
    return sets_of({record.image: record.pixels for record in records if not record.reason})


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
    has_own_groups = evidence.listing.groups is not None
    return Audit(
        dataset=evidence.dataset,
        digest=evidence.digest,
        notes=_list_notes(evidence.listing),
        files=files_of(evidence.records),
        classes=classes_of(evidence.listing.entries, group_of),
        identical_bytes=sets_of(bytes_of),
        identical_pixels=spanning(evidence.twins, bytes_of),
        near=evidence.groups,
        near_limits=evidence.near_limits,
        mixed=spanning(evidence.groups, label_of),
        groups=groups_of(group_of, evidence.listing.groups_from or FOUND, has_own_groups),
        agreement=(
            agreement_of(evidence.groups, evidence.twins, group_of) if has_own_groups else None
        ),
        protocols=[examine_split(name, evidence.samples, group_of) for name in PROTOCOLS],
    )
