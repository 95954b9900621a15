"""Put an audit into words and tables, for both the terminal and the page."""

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from study.data.audit.facts import Audit
from study.data.audit.findings import ImageSet
from study.data.audit.findings import largest_first
from study.data.audit.splits import Interval
from study.data.audit.splits import SplitFacts
from study.data.audit.suggestion import Suggestion

# of a split that keeps near-duplicates together
NONE_FOUND = SplitFacts("grouped", "", {}, 0, is_minimum=True, accuracy=None, recall={})


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


def summarize_audit(audit: Audit) -> str:
    """Summarize the audit in one sentence."""
    files = audit.files
    return (
        f"{_format_count(files.listed, 'image file')} in {len(audit.classes)} classes, "
        f"{files.bytes / 1e6:,.1f} MB; {files.usable:,} usable."
    )


def list_cautions(audit: Audit) -> list[str]:
    """Return what a reader must not miss.

    The list is empty if all is well.
    """
    warnings = [f"{note[0].upper()}{note[1:]}." for note in audit.notes]
    if unusable := len(audit.files.unusable):
        warnings.append(
            f"{_format_count(unusable, 'file')} cannot be used; training leaves them out."
        )
    if unusual := len(audit.files.unusual):
        warnings.append(
            f"{_format_count(unusual, 'file')} of unusual form: see below what training does."
        )
    for protocol in audit.protocols:
        if protocol.leaking:
            warnings.append(
                f"The {protocol.name} split leaks: {_format_leak(protocol, 'test images')} have a "
                "sibling in training."
            )
    warnings += _question_groups(audit)
    if audit.mixed:
        warnings.append(
            "Near-duplicates or equal images have different classes in "
            f"{_format_count(len(audit.mixed), 'group')}: a label may be wrong."
        )
    if audit.agreement and (sets := audit.agreement.identical_spanning):
        warnings.append(
            f"Equal images are in different known groups ({_format_count(len(sets), 'set')}): the "
            "grouped split may put one in training and the other in test."
        )
    return warnings


def _question_groups(audit: Audit) -> list[str]:
    """Return what is not known where groups are near-duplicates alone."""
    suggestion = audit.suggestion
    if audit.groups.found_by != "near-duplicates":
        return []
    if suggestion is None:
        return [
            "Groups are near-duplicates alone: whether different pictures of one patient are in "
            "training and in test is not known."
        ]
    # the pattern with the most images of a group shows best what is meant
    pattern = max(suggestion.patterns, key=lambda pattern: pattern.images / pattern.groups)
    possible = [p for p in suggestion.protocols if not p.impossible]
    leaks = [
        f"{_format_leak(p, 'test images' if p is possible[0] else '')} of "
        + (f"the {p.name} split" if p.name != "grouped" else "the split grouped by near-duplicates")
        for p in possible
    ]
    lines = [
        f"File names suggest {_format_count(suggestion.groups, 'patient')}, such as "
        f"{escape_unprintable(pattern.group)} of {_get_name(pattern.image)}: is that so?"
    ]
    if leaks:
        text = " and ".join(filter(None, (", ".join(leaks[:-1]), leaks[-1])))
        lines.append(f"If so, {text} have a sibling in training.")
    return lines


def _name_split(audit: Audit, protocol: SplitFacts) -> str:
    """Name a split, and what its groups are where there are two answers."""
    if protocol.name != "grouped" or audit.suggestion is None:
        return protocol.name
    by = "file names" if protocol is audit.suggestion.grouped else "near-duplicates"
    return f"grouped by {by}"


def _get_name(image: str) -> str:
    return escape_unprintable(image.rsplit("/", 1)[-1])


def build_sections(audit: Audit) -> list[Section]:
    """Return all sections but the pictures."""
    return [
        _describe_images(audit),
        _describe_unusable(audit),
        *([_describe_unusual(audit)] if audit.files.unusual else []),
        _describe_equal(audit),
        _describe_near_duplicates(audit),
        _describe_groups(audit),
        *([] if audit.suggestion is None else [_describe_suggestion(audit.suggestion)]),
        *_describe_agreement(audit),
        _describe_splits(audit),
        _describe_intervals(audit),
    ]


def _describe_images(audit: Audit) -> Section:
    parts = sorted({part for c in audit.classes for part in c.parts}, key=_rank_part)
    headings = ["class", "files", "usable", *parts]
    rows = []
    for c in audit.classes:
        counts = (c.listed, c.usable, *(c.parts.get(part, 0) for part in parts))
        rows.append([escape_unprintable(c.name), *map(_format_number, counts)])
    files = audit.files
    lines = [
        f"Formats: {_format_counts(files.formats)}. Color modes: {_format_counts(files.modes)}.",
        f"Sizes in pixels: {_format_counts(files.sizes)}.",
    ]
    return Section("Images", lines, [Table(headings, rows)])


def _rank_part(part: str) -> tuple[int, str]:
    order = ("train", "val", "test")
    return (order.index(part) if part in order else len(order), part)


def _format_counts(counts: Mapping[str, int], most: int = 5) -> str:
    texts = [f"{name or 'unnamed'} ({count:,})" for name, count in list(counts.items())[:most]]
    if len(counts) > most:
        texts.append(f"{len(counts) - most:,} others")
    return ", ".join(texts) or "none"


def _describe_unusable(audit: Audit) -> Section:
    rows = [
        [escape_unprintable(image), escape_unprintable(reason)]
        for image, reason in audit.files.unusable
    ]
    if not rows:
        return Section("Files that cannot be used", ["None."])
    return Section("Files that cannot be used", [], [Table(["file", "reason"], rows, left=2)])


def _describe_unusual(audit: Audit) -> Section:
    images = defaultdict(list)
    for image, form in audit.files.unusual:
        images[form].append(image)
    rows = [
        [form, escape_unprintable(images[form][0]), _format_number(len(images[form]))]
        for form in sorted(images, key=lambda form: -len(images[form]))
    ]
    return Section(
        "Unusual files", [], [Table(["what training does", "such as", "files"], rows, 2)]
    )


def _describe_equal(audit: Audit) -> Section:
    lines = [
        f"Same bytes: {_format_sets(audit.identical_bytes)}.",
        f"Same pixels in different bytes: {_format_sets(audit.identical_pixels)}.",
    ]
    in_pixel_sets = {image for images in audit.identical_pixels for image in images}
    byte_sets = [images for images in audit.identical_bytes if images[0] not in in_pixel_sets]
    sets = largest_first([*audit.identical_pixels, *byte_sets])
    return Section("Equal images", lines, _tabulate_sets(sets))


def _describe_near_duplicates(audit: Audit) -> Section:
    count = f"{_format_sets(audit.near, 'group').capitalize()}, equal images included"
    largest = f"; the largest group has {len(audit.near[0]):,} images" if audit.near else ""
    lines = [f"{count}{largest}.", audit.near_limits]
    if not audit.mixed:
        return Section("Near-duplicates", lines)
    lines.append(f"With images of several classes: {_format_sets(audit.mixed, 'group')}.")
    return Section("Near-duplicates", lines, _tabulate_sets(audit.mixed))


def _format_sets(sets: Sequence[ImageSet], word: str = "set") -> str:
    if not sets:
        return "none"
    return f"{_format_count(len(sets), word)}, {sum(map(len, sets)):,} images in all"


def _tabulate_sets(
    sets: Sequence[ImageSet], most_sets: int = 500, most_images: int = 4
) -> list[Table]:
    rows = []
    for images in sets[:most_sets]:
        names = ", ".join(map(escape_unprintable, images[:most_images]))
        if len(images) > most_images:
            names += f" and {len(images) - most_images:,} more"
        rows.append([names, _format_number(len(images))])
    return [Table(["images", "count"], rows, more=len(sets) - len(rows))] if rows else []


def _describe_groups(audit: Audit) -> Section:
    groups = audit.groups
    lines = [
        f"Source: {groups.source}. {_format_count(groups.count, 'group')}; the largest has "
        f"{_format_count(groups.largest, 'image')}, the median group {groups.median:g}."
    ]
    if groups.found_by == "near-duplicates":
        lines.append("An image without a near-duplicate is a group of its own.")
    rows = [
        [escape_unprintable(c.name), _format_number(c.usable), _format_number(c.groups)]
        for c in audit.classes
    ]
    return Section("Groups", lines, [Table(["class", "usable images", "groups"], rows)])


def _describe_suggestion(suggestion: Suggestion) -> Section:
    lines = [
        f"{_format_count(suggestion.groups, 'group')} by the beginnings that file names share. "
        "Only you can tell whether each is one patient."
    ]
    if unmatched := suggestion.unmatched:
        lines.append(
            f"Names that fit no pattern: {len(unmatched):,}, such as {_get_name(unmatched[0])}."
        )
    lines.append(
        "Groups of near-duplicates that span several of these groups: "
        f"{_format_sets(suggestion.spanning, 'group')}."
    )
    lines.append(
        "If so, run the audit again with --groups-from and each of these patterns, in this order."
    )
    rows = [
        [
            p.regex,
            f"{escape_unprintable(p.group)} of {_get_name(p.image)}",
            _format_number(p.images),
            _format_number(p.groups),
        ]
        for p in suggestion.patterns
    ]
    return Section(
        "Groups in file names", lines, [Table(["pattern", "such as", "images", "groups"], rows, 2)]
    )


def _describe_agreement(audit: Audit) -> list[Section]:
    title = "Near-duplicates against known groups"
    agreement = audit.agreement
    if agreement is None:
        if not audit.groups.known:
            return []
        source = audit.groups.source.replace(", written", " was written", 1)
        return [Section(title, [f"{source}: nothing to compare with."])]
    lines = [
        f"Of {agreement.found_pairs:,} pairs found to be near-duplicates, {agreement.both:,} lie "
        f"in one known group: precision {_format_percent(agreement.precision)}.",
        f"Of {agreement.known_pairs:,} pairs in one known group, {agreement.both:,} were found: "
        f"recall {_format_percent(agreement.recall)}.",
        "Groups of near-duplicates that span several known groups: "
        f"{_format_sets(agreement.spanning, 'group')}.",
        f"Equal images in several known groups: {_format_sets(agreement.identical_spanning)}.",
    ]
    return [Section(title, lines, _tabulate_sets(agreement.spanning[:10]))]


def _describe_splits(audit: Audit) -> Section:
    headings = ["split", "train", "val", "test"]
    lines = ["A sibling of a test image is an image of the same group in training."]
    if audit.suggestion is None:
        headings.append("test images with a sibling")
        rows = [_list_cells(audit, p, p) for p in audit.protocols]
    else:
        headings += ["with a near-duplicate", "with a sibling by name"]
        grouped = audit.suggestion.grouped
        pairs = zip(audit.protocols, audit.suggestion.protocols, strict=True)
        rows = [_list_cells(audit, by_name, near, by_name) for near, by_name in pairs]
        rows.append(_list_cells(audit, grouped, NONE_FOUND, grouped))
    rows = list(filter(None, rows))
    if any(p.is_minimum for p in audit.protocols):
        lines.append(
            "Near-duplicates are found, other pictures of one patient are not: the numbers may be "
            "larger."
        )
    for p in audit.protocols:
        if p.impossible:
            lines.append(f"The {p.name} split is not possible: {escape_unprintable(p.impossible)}.")
    return Section("Splits, seed 0", lines, [Table(headings, rows)] if rows else [])


def _list_cells(audit: Audit, split: SplitFacts, *counts: SplitFacts) -> list[str]:
    """Return a row of the table of splits, or nothing for a split that is not possible."""
    if split.impossible:
        return []
    sizes = map(_format_number, split.sizes.values())
    return [_name_split(audit, split), *sizes, *map(_format_leak, counts)]


def _format_leak(protocol: SplitFacts, noun: str = "") -> str:
    """Format the leak as `446 of 1,168 (38.2 %)`, with a noun before the bracket, if any.

    Where siblings may be missed, it is `at least 3 of 80` or `none found`.
    """
    if protocol.is_minimum and not protocol.leaking:
        return "none found"
    test = protocol.sizes["test"]
    counted = f"{protocol.leaking:,} of {test:,} {noun}".rstrip()
    if protocol.is_minimum:
        return f"at least {counted}"
    return f"{counted} ({_format_percent(protocol.leaking / test)})"


def _describe_intervals(audit: Audit) -> Section:
    possible = [p for p in audit.protocols if p.accuracy]
    title = "What the test set can show at best"
    if not possible:
        return Section(title, ["Nothing: no split is possible."])
    names = [c.name for c in audit.classes]
    rows = [["all (accuracy)", *(_format_interval(p.accuracy) for p in possible)]]
    rows += [
        [f"{escape_unprintable(n)} (recall)", *(_format_interval(p.recall[n]) for p in possible)]
        for n in names
    ]
    lines = [
        "The number of groups in the test set, and Wilson's 95 % interval of an accuracy near one "
        "half if all images of a group are classified alike."
    ]
    if possible[0].is_minimum:
        lines.append(
            "Groups are near-duplicates here: if a patient has several, the test set shows less."
        )
    if leaking := [p.name for p in possible if p.leaking]:
        lines.append(
            f"If a split leaks ({', '.join(leaking)}), some of these groups are also in training, "
            "so its accuracy partly measures memory."
        )
    return Section(title, lines, [Table(["measure", *(p.name for p in possible)], rows)])


def _format_interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.groups:,}: {100 * interval.low:.0f} to {100 * interval.high:.0f} %"


def _format_percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _format_count(count: int, word: str) -> str:
    ending = "" if count == 1 else "s"
    return f"{count:,} {word}{ending}"


def _format_number(count: int) -> str:
    return f"{count:,}"
