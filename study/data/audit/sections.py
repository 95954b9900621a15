"""Put an audit into words and tables, for both the terminal and the page."""

from collections import defaultdict
from collections.abc import Mapping

from study.common.words import pluralize
from study.data.audit.facts import Audit
from study.data.audit.findings import sort_by_size
from study.data.audit.group_sections import describe_agreement
from study.data.audit.group_sections import describe_groups
from study.data.audit.group_sections import describe_intervals
from study.data.audit.group_sections import describe_splits
from study.data.audit.group_sections import describe_suggestion
from study.data.audit.group_sections import format_leak
from study.data.audit.group_sections import question_groups
from study.data.audit.texts import escape_unprintable
from study.data.audit.texts import format_number
from study.data.audit.texts import format_sets
from study.data.audit.texts import Section
from study.data.audit.texts import Table
from study.data.audit.texts import tabulate_sets


def summarize_audit(audit: Audit) -> str:
    """Summarize the audit in one sentence."""
    files = audit.files
    return (
        f"{pluralize(files.listed, 'image file')} in {len(audit.classes)} classes, "
        f"{files.bytes / 1e6:,.1f} MB; {files.usable:,} usable."
    )


def list_cautions(audit: Audit) -> list[str]:
    """Return what a reader must not miss.

    The list is empty if all is well.
    """
    warnings = [f"{note[0].upper()}{note[1:]}." for note in audit.notes]
    if unusable := len(audit.files.unusable):
        warnings.append(f"{pluralize(unusable, 'file')} cannot be used; training leaves them out.")
    if unusual := len(audit.files.unusual):
        warnings.append(
            f"{pluralize(unusual, 'file')} of unusual form: see below what training does."
        )
    for split in audit.protocols:
        if split.leaking:
            warnings.append(
                f"The {split.name} split leaks: {format_leak(split, 'test images')} have a "
                "sibling in training."
            )
    warnings += question_groups(audit)
    if audit.mixed:
        warnings.append(
            "Near-duplicates or equal images have different classes in "
            f"{pluralize(len(audit.mixed), 'group')}: a label may be wrong."
        )
    if audit.agreement and (sets := audit.agreement.identical_spanning):
        warnings.append(
            f"Equal images are in different known groups ({pluralize(len(sets), 'set')}): the "
            "grouped split may put one in training and the other in test."
        )
    return warnings


def build_sections(audit: Audit) -> list[Section]:
    """Return all sections but the pictures."""
    return [
        _describe_images(audit),
        _describe_unusable(audit),
        *([_describe_unusual(audit)] if audit.files.unusual else []),
        _describe_equal(audit),
        _describe_near_duplicates(audit),
        describe_groups(audit),
        *([] if audit.suggestion is None else [describe_suggestion(audit.suggestion)]),
        *describe_agreement(audit),
        describe_splits(audit),
        describe_intervals(audit),
    ]


def _describe_images(audit: Audit) -> Section:
    parts = sorted({part for c in audit.classes for part in c.parts}, key=_rank_part)
    headings = ["class", "files", "usable", *parts]
    rows = []
    for c in audit.classes:
        counts = (c.listed, c.usable, *(c.parts.get(part, 0) for part in parts))
        rows.append([escape_unprintable(c.name), *map(format_number, counts)])
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
        [form, escape_unprintable(images[form][0]), format_number(len(images[form]))]
        for form in sorted(images, key=lambda form: -len(images[form]))
    ]
    return Section(
        "Unusual files", [], [Table(["what training does", "such as", "files"], rows, 2)]
    )


def _describe_equal(audit: Audit) -> Section:
    lines = [
        f"Same bytes: {format_sets(audit.identical_bytes)}.",
        f"Same pixels in different bytes: {format_sets(audit.identical_pixels)}.",
    ]
    in_pixel_sets = {image for images in audit.identical_pixels for image in images}
    byte_sets = [images for images in audit.identical_bytes if images[0] not in in_pixel_sets]
    sets = sort_by_size([*audit.identical_pixels, *byte_sets])
    return Section("Equal images", lines, tabulate_sets(sets))


def _describe_near_duplicates(audit: Audit) -> Section:
    count = f"{format_sets(audit.near, 'group').capitalize()}, equal images included"
    largest = f"; the largest group has {len(audit.near[0]):,} images" if audit.near else ""
    lines = [f"{count}{largest}.", audit.near_limits]
    if not audit.mixed:
        return Section("Near-duplicates", lines)
    lines.append(f"With images of several classes: {format_sets(audit.mixed, 'group')}.")
    return Section("Near-duplicates", lines, tabulate_sets(audit.mixed))
