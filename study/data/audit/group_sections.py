"""Describe an audit's groups, and the leaks of its splits, in words and tables."""

from study.common.words import pluralize
from study.data.audit.facts import Audit
from study.data.audit.splits import Interval
from study.data.audit.splits import SplitFacts
from study.data.audit.suggestion import Suggestion
from study.data.audit.texts import describe_share
from study.data.audit.texts import escape_unprintable
from study.data.audit.texts import format_number
from study.data.audit.texts import format_sets
from study.data.audit.texts import Section
from study.data.audit.texts import show_file_name
from study.data.audit.texts import Table
from study.data.audit.texts import tabulate_sets

# of a split that keeps near-duplicates together
NONE_FOUND = SplitFacts("grouped", "", {}, 0, is_minimum=True, accuracy=None, recall={})


def question_groups(audit: Audit) -> list[str]:
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
        f"{format_leak(p, 'test images' if p is possible[0] else '')} of "
        + (f"the {p.name} split" if p.name != "grouped" else "the split grouped by near-duplicates")
        for p in possible
    ]
    lines = [
        f"File names suggest {pluralize(suggestion.groups, 'patient')}, such as "
        f"{escape_unprintable(pattern.group)} of {show_file_name(pattern.image)}: is that so?"
    ]
    if leaks:
        text = " and ".join(filter(None, (", ".join(leaks[:-1]), leaks[-1])))
        lines.append(f"If so, {text} have a sibling in training.")
    return lines


def describe_groups(audit: Audit) -> Section:
    """Describe the groups that the grouped split keeps together."""
    groups = audit.groups
    lines = [
        f"Source: {groups.source}. {pluralize(groups.count, 'group')}; the largest has "
        f"{pluralize(groups.largest, 'image')}, the median group {groups.median:g}."
    ]
    if groups.found_by == "near-duplicates":
        lines.append("An image without a near-duplicate is a group of its own.")
    rows = [
        [escape_unprintable(c.name), format_number(c.usable), format_number(c.groups)]
        for c in audit.classes
    ]
    return Section("Groups", lines, [Table(["class", "usable images", "groups"], rows)])


def describe_suggestion(suggestion: Suggestion) -> Section:
    """Describe the groups that file names suggest."""
    lines = [
        f"{pluralize(suggestion.groups, 'group')} by the beginnings that file names share. "
        "Only you can tell what they are."
    ]
    if unmatched := suggestion.unmatched:
        example = show_file_name(unmatched[0])
        lines.append(f"Names that fit no pattern: {len(unmatched):,}, such as {example}.")
    lines.append(
        "Groups of near-duplicates that span several of these groups: "
        f"{format_sets(suggestion.spanning, 'group')}."
    )
    lines.append(
        "If each is one patient, run the audit again with --groups-from and these patterns, in "
        "this order."
    )
    rows = [
        [
            p.regex,
            f"{escape_unprintable(p.group)} of {show_file_name(p.image)}",
            format_number(p.images),
            format_number(p.groups),
        ]
        for p in suggestion.patterns
    ]
    return Section(
        "Groups in file names", lines, [Table(["pattern", "such as", "images", "groups"], rows, 2)]
    )


def describe_agreement(audit: Audit) -> list[Section]:
    """Compare near-duplicates with known groups, unless an audit found these."""
    title = "Near-duplicates against known groups"
    agreement = audit.agreement
    if agreement is None:
        if not audit.groups.known:
            return []
        source = audit.groups.source.replace(", written", " was written", 1)
        return [Section(title, [f"{source}: nothing to compare with."])]
    lines = [
        f"Of {agreement.found_pairs:,} pairs found to be near-duplicates, {agreement.both:,} lie "
        f"in one known group: precision {describe_share(agreement.precision)}.",
        f"Of {agreement.known_pairs:,} pairs in one known group, {agreement.both:,} were found: "
        f"recall {describe_share(agreement.recall)}.",
        "Groups of near-duplicates that span several known groups: "
        f"{format_sets(agreement.spanning, 'group')}.",
        f"Equal images in several known groups: {format_sets(agreement.identical_spanning)}.",
    ]
    return [Section(title, lines, tabulate_sets(agreement.spanning[:10]))]


def describe_splits(audit: Audit) -> Section:
    """Describe the splits and their leaks, by both kinds of groups if there are two."""
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
            "Near-duplicates are found, other pictures of one patient are not, so more test images "
            "may have a sibling."
        )
    for p in audit.protocols:
        if p.impossible:
            lines.append(f"The {p.name} split is not possible: {escape_unprintable(p.impossible)}.")
    return Section("Splits, seed 0", lines, [Table(headings, rows)] if rows else [])


def describe_intervals(audit: Audit) -> Section:
    """Describe how much the test sets can show at best."""
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
        "The number of groups in the test set, and a range. If half of the answers are right, "
        "which is the hardest to measure, the true accuracy may lie anywhere in this range (95 % "
        "interval). All images of a group count as one answer."
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


def format_leak(split: SplitFacts, noun: str = "") -> str:
    """Format the leak as `446 of 1,168 (38.2 %)`.

    The noun, if any, stands before the bracket. Where siblings may be missed, the leak is
    `at least 3 of 80` or `none found`.
    """
    if split.is_minimum and not split.leaking:
        return "none found"
    test = split.sizes["test"]
    counted = f"{split.leaking:,} of {test:,} {noun}".rstrip()
    if split.is_minimum:
        return f"at least {counted}"
    return f"{counted} ({describe_share(split.leaking / test)})"


def _name_split(audit: Audit, split: SplitFacts) -> str:
    """Name a split, and what its groups are where there are two answers."""
    if split.name != "grouped" or audit.suggestion is None:
        return split.name
    by = "file names" if split is audit.suggestion.grouped else "near-duplicates"
    return f"grouped by {by}"


def _list_cells(audit: Audit, split: SplitFacts, *counts: SplitFacts) -> list[str]:
    """List the cells of a split's row in the table of splits.

    There are none for a split that is not possible.
    """
    if split.impossible:
        return []
    sizes = map(format_number, split.sizes.values())
    return [_name_split(audit, split), *sizes, *map(format_leak, counts)]


def _format_interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.groups:,}: {100 * interval.low:.0f} to {100 * interval.high:.0f} %"
