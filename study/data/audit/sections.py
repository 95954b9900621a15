"""An audit put into words and tables, once for the terminal and for the page."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from study.data.audit.facts import Audit
from study.data.audit.findings import largest_first
from study.data.audit.findings import Set
from study.data.audit.splits import Interval
from study.data.audit.splits import Protocol


@dataclass(frozen=True)
class Table:
    """Headings and rows; the first `left` columns are text, the others numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    more: int = 0  # rows left out


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it."""

    title: str
    lines: list[str]
    tables: list[Table] = field(default_factory=list)


def printable(name: str) -> str:
    """A file's name as it may be shown: with quotes and escapes if it holds odd characters."""
    return name if name.isprintable() else repr(name)


def summary(audit: Audit) -> str:
    """One sentence."""
    files = audit.files
    return (
        f"{_count(files.listed, 'image file')} in {len(audit.classes)} classes, "
        f"{files.bytes / 1e6:,.1f} MB; {files.usable:,} usable."
    )


def cautions(audit: Audit) -> list[str]:
    """What a reader must not miss; empty if all is well."""
    found = []
    if unusable := len(audit.files.unusable):
        found.append(f"{_count(unusable, 'file')} cannot be used; training leaves them out.")
    for protocol in audit.protocols:
        if protocol.leaking:
            found.append(
                f"The {protocol.name} split leaks: {_leak(protocol)} test images have a sibling "
                "in train."
            )
    if audit.mixed:
        found.append(
            "Near-duplicates or equal images of several classes: "
            f"{_count(len(audit.mixed), 'group')}; a label may be wrong."
        )
    if audit.agreement and (sets := audit.agreement.identical_spanning):
        found.append(
            f"Equal images in several known groups: {_count(len(sets), 'set')}; the grouped split "
            "may part them."
        )
    return found


def sections(audit: Audit) -> list[Section]:
    """Everything but the pictures."""
    return [
        _images(audit),
        _unusable(audit),
        _equal(audit),
        _near(audit),
        _groups(audit),
        *([] if audit.agreement is None else [_agreement(audit)]),
        _splits(audit),
        _intervals(audit),
    ]


def _images(audit: Audit) -> Section:
    parts = sorted({part for c in audit.classes for part in c.parts}, key=_part_order)
    head = ["class", "files", "usable", *parts]
    rows = []
    for c in audit.classes:
        counts = (c.listed, c.usable, *(c.parts.get(part, 0) for part in parts))
        rows.append([printable(c.name), *map(_number, counts)])
    files = audit.files
    lines = [
        f"Formats: {_kinds(files.formats)}. Color modes: {_kinds(files.modes)}.",
        f"Sizes in pixels: {_kinds(files.sizes)}.",
    ]
    return Section("Images", lines, [Table(head, rows)])


def _part_order(part: str) -> tuple[int, str]:
    order = ("train", "val", "test")
    return (order.index(part) if part in order else len(order), part)


def _kinds(counts: Mapping[str, int], most: int = 5) -> str:
    shown = [f"{name or 'unnamed'} ({count:,})" for name, count in list(counts.items())[:most]]
    more = [f"{len(counts) - most:,} others"] if len(counts) > most else []
    return ", ".join(shown + more) or "none"


def _unusable(audit: Audit) -> Section:
    rows = [[printable(image), printable(reason)] for image, reason in audit.files.unusable]
    if not rows:
        return Section("Files that cannot be used", ["None."])
    return Section("Files that cannot be used", [], [Table(["file", "reason"], rows, left=2)])


def _equal(audit: Audit) -> Section:
    lines = [
        f"Same bytes: {_sets(audit.identical_bytes)}.",
        f"Same pixels in different bytes: {_sets(audit.identical_pixels)}.",
    ]
    listed = {image for set_ in audit.identical_pixels for image in set_}
    rest = [set_ for set_ in audit.identical_bytes if set_[0] not in listed]
    sets = largest_first([*audit.identical_pixels, *rest])
    return Section("Equal images", lines, _set_table(sets))


def _near(audit: Audit) -> Section:
    lines = [f"{_sets(audit.near, 'group').capitalize()}, equal images among them."]
    if audit.near:
        lines[0] = f"{lines[0][:-1]}; the largest has {len(audit.near[0]):,}."
    lines.append(audit.near_limits)
    if not audit.mixed:
        return Section("Near-duplicates", lines)
    lines.append(f"With images of several classes: {_sets(audit.mixed, 'group')}.")
    return Section("Near-duplicates", lines, _set_table(audit.mixed))


def _sets(sets: Sequence[Set], word: str = "set") -> str:
    if not sets:
        return "none"
    return f"{_count(len(sets), word)} of two or more, {sum(map(len, sets)):,} images in all"


def _set_table(sets: Sequence[Set], most: int = 500, images: int = 4) -> list[Table]:
    rows = []
    for set_ in sets[:most]:
        more = f" and {len(set_) - images:,} more" if len(set_) > images else ""
        rows.append([", ".join(map(printable, set_[:images])) + more, _number(len(set_))])
    return [Table(["which", "images"], rows, more=len(sets) - len(rows))] if rows else []


def _groups(audit: Audit) -> Section:
    groups = audit.groups
    lines = [
        f"Source: {groups.source}. {_count(groups.count, 'group')}; the largest has "
        f"{_count(groups.largest, 'image')}, the median {groups.median:g}."
    ]
    if not groups.known:
        lines.append("An image without a near-duplicate is a group of its own.")
    rows = [[printable(c.name), _number(c.usable), _number(c.groups)] for c in audit.classes]
    return Section("Groups", lines, [Table(["class", "usable images", "groups"], rows)])


def _agreement(audit: Audit) -> Section:
    agreement = audit.agreement
    assert agreement is not None
    lines = [
        f"Of {agreement.found_pairs:,} pairs found to be near-duplicates, {agreement.both:,} lie "
        f"in one known group: precision {_percent(agreement.precision)}.",
        f"Of {agreement.known_pairs:,} pairs in one known group, {agreement.both:,} were found: "
        f"recall {_percent(agreement.recall)}.",
        f"Groups found that span several known ones: {_sets(agreement.spanning, 'group')}.",
        f"Equal images that do: {_sets(agreement.identical_spanning)}.",
    ]
    return Section("Found against known groups", lines, _set_table(agreement.spanning[:10]))


def _splits(audit: Audit) -> Section:
    head = ["split", "train", "val", "test", "test images with a sibling"]
    rows = [
        [p.name, *map(_number, p.sizes.values()), _leak(p)]
        for p in audit.protocols
        if not p.impossible
    ]
    lines = ["A test image's sibling is an image of its group in train."]
    for p in audit.protocols:
        if p.impossible:
            lines.append(f"The {p.name} split is not possible: {printable(p.impossible)}.")
    return Section("Splits, seed 0", lines, [Table(head, rows)] if rows else [])


def _leak(protocol: Protocol) -> str:
    test = protocol.sizes["test"]
    return f"{protocol.leaking:,} of {test:,} ({_percent(protocol.leaking / test)})"


def _intervals(audit: Audit) -> Section:
    possible = [p for p in audit.protocols if p.accuracy]
    title = "What the test set can tell at best"
    if not possible:
        return Section(title, ["Nothing: no split is possible."])
    names = [c.name for c in audit.classes]
    rows = [["all (accuracy)", *(_interval(p.accuracy) for p in possible)]]
    rows += [
        [f"{printable(n)} (recall)", *(_interval(p.recall[n]) for p in possible)] for n in names
    ]
    lines = [
        "Independent groups in the test set, and the 95 % interval around an accuracy of about "
        "one half (Wilson), if the images of one group stand or fall together."
    ]
    if leaking := [p.name for p in possible if p.leaking]:
        lines.append(
            f"Where a split leaks ({', '.join(leaking)}), some of these groups are in train, too: "
            "there the figure measures memory."
        )
    return Section(title, lines, [Table(["", *(p.name for p in possible)], rows)])


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.groups:,}: {100 * interval.low:.0f} to {100 * interval.high:.0f} %"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


def _number(count: int) -> str:
    return f"{count:,}"
