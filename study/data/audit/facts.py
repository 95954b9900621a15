"""All that an audit found, as one value: what is printed, drawn as a page, and stored as JSON."""

import dataclasses
import json
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from study.data.audit.findings import Agreement
from study.data.audit.findings import agreement_of
from study.data.audit.findings import Class
from study.data.audit.findings import classes_of
from study.data.audit.findings import Files
from study.data.audit.findings import files_of
from study.data.audit.findings import group_names
from study.data.audit.findings import Groups
from study.data.audit.findings import groups_of
from study.data.audit.findings import Set
from study.data.audit.findings import sets_of
from study.data.audit.findings import spanning
from study.data.audit.findings import with_twins
from study.data.audit.scan import Record
from study.data.audit.splits import Protocol
from study.data.audit.splits import protocol_facts
from study.data.audit.splits import PROTOCOLS
from study.data.listing import Listing
from study.data.prepare import Samples
from study.data.prepare import samples_of

FOUND = "near-duplicates found by this audit"


@dataclass(frozen=True)
class Audit:
    """The facts about a data set. Images are ids: paths relative to the image root."""

    dataset: str  # "chest", "blood", "demo" or "folder:NAME"
    digest: str  # as training records it
    files: Files
    classes: list[Class]
    identical_bytes: list[Set]
    identical_pixels: list[Set]  # sets of equal pixels, not all of equal bytes
    near: list[Set]  # groups of near-duplicates, equal images among them
    near_limits: str  # what the search cannot find
    mixed: list[Set]  # of these groups, those with images of several classes
    groups: Groups
    agreement: Agreement | None  # of `near` with the groups, if the data set has its own
    protocols: list[Protocol]

    def as_json(self) -> str:
        """Keys in the order of declaration; names in ASCII, bytes that are no text as \\udcXX."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


@dataclass(frozen=True)
class Found:
    """What reading the images gave, before any conclusion."""

    dataset: str  # as it may be shown
    digest: str
    listing: Listing
    hashes: Mapping[str, str]  # SHA-256 of each listed file
    records: Sequence[Record]
    near: Sequence[Set]  # groups among `representatives`
    near_limits: str

    @cached_property
    def twins(self) -> list[Set]:
        """Sets of usable images with equal pixels."""
        return twins_of(self.records)

    @cached_property
    def groups(self) -> list[Set]:
        """Near-duplicates, with all twins."""
        return with_twins(self.near, self.twins)

    @cached_property
    def group_of(self) -> dict[str, str]:
        """The group of every listed image: the data set's own, else those found."""
        images = [entry.image for entry in self.listing.entries]
        if self.listing.groups is None:
            return group_names(images, self.groups)
        return {image: self.listing.groups[image] for image in images}

    @cached_property
    def samples(self) -> Samples:
        """The usable images as training has them."""
        unusable = {record.image for record in self.records if record.reason}
        return samples_of(self.dataset, self.listing, unusable)


def twins_of(records: Sequence[Record]) -> list[Set]:
    """Sets of usable images with equal pixels."""
    return sets_of({record.image: record.pixels for record in records if not record.reason})


def representatives(records: Sequence[Record]) -> list[str]:
    """The usable images, of those with equal pixels the first only."""
    others = {image for set_ in twins_of(records) for image in set_[1:]}
    return [r.image for r in records if not r.reason and r.image not in others]


def facts(found: Found) -> Audit:
    """All conclusions."""
    group_of = {image: found.group_of[image] for image in found.samples.images}
    bytes_of = {image: found.hashes[image] for image in group_of}
    label_of = {entry.image: entry.label for entry in found.listing.entries}
    known = found.listing.groups is not None
    return Audit(
        dataset=found.dataset,
        digest=found.digest,
        files=files_of(found.records),
        classes=classes_of(found.listing.entries, group_of),
        identical_bytes=sets_of(bytes_of),
        identical_pixels=spanning(found.twins, bytes_of),
        near=found.groups,
        near_limits=found.near_limits,
        mixed=spanning(found.groups, label_of),
        groups=groups_of(group_of, found.listing.groups_from or FOUND, known),
        agreement=agreement_of(found.groups, found.twins, group_of) if known else None,
        protocols=[protocol_facts(name, found.samples, group_of) for name in PROTOCOLS],
    )
