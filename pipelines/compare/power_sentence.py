"""Say what a study could have found, and what would find more."""

import math
from collections.abc import Sequence

from pipelines.compare.blocks import Row
from study.common.words import pluralize
from study.statistics.power import Power

# What a test group of each data set is. Of others, it is called a group.
GROUP_NOUNS = {"chest": "patient", "blood": "photograph", "demo": "original"}
MANY = 100  # more seeds, or more times as many groups, are given as more than so many


def describe_power(rows: Sequence[Row]) -> list[str]:
    """Say what comparisons could have found, and what would find the largest gain.

    Of several rows, this is about the one with the largest gain or loss, which chance has likely
    made too large. Empty if nothing is known about it.

    Args:
        rows: which do not differ significantly from the baseline.
    """
    known_rows = [row for row in rows if row.verdict.power is not None]
    if not known_rows:
        return []
    row = max(known_rows, key=_get_size)
    power = row.verdict.power
    assert power is not None
    noun = GROUP_NOUNS.get(row.config.dataset, "group") if row.verdict.grouped else "test image"
    powers = [other.verdict.power for other in known_rows if other.verdict.power]
    sentence = _describe_smallest(powers, noun)
    if 0 < _get_size(row) < power.smallest:
        degree = {1: "", 2: "larger "}.get(len(known_rows), "largest ")
        difference = f"the {degree}difference of {_format_points(_get_size(row))} that was seen"
        need = _describe_need(power, difference, noun)
        return [f"{sentence}. {need[0].upper()}{need[1:]}.{_doubt_need(power, degree)}"]
    return [f"{sentence}."]


def _doubt_need(power: Power, degree: str) -> str:
    """Say that the need of the largest of several differences is likely too low."""
    has_number = power.groups_needed is not None or power.seeds_needed is not None
    if not degree or not has_number:
        return ""
    several = "two" if degree == "larger " else "several"
    return f" The {degree}of {several} is likely too large, so more would be needed."


def _get_size(row: Row) -> float:
    assert row.verdict.gain is not None
    return abs(row.verdict.gain.value)


def _describe_smallest(powers: Sequence[Power], noun: str) -> str:
    """Say which differences would have been found, from the power of some rows."""
    sizes = [power.smallest for power in powers]
    studies = {describe_study(power.groups, power.seeds, noun) for power in powers}
    condition = f"With {studies.pop()}" if len(studies) == 1 else "With these seeds and test images"
    if math.isinf(min(sizes)):
        return f"{condition}, no difference would have been found, however large"
    low = _format_points(min(sizes))
    high = _format_points(max(sizes))
    smallest = f"{low} or more"
    if math.isinf(max(sizes)) and low != high:
        smallest = f"{low} or more (with some configs none, however large)"
    elif low != high:
        smallest = f"{low.removesuffix(' points')} to {high} or more, depending on the config,"
    return (
        f"{condition}, only differences of {smallest} would have been found in four of five studies"
    )


def _describe_need(power: Power, difference: str, noun: str) -> str:
    """Say how many groups, and how many seeds, would find a difference."""
    groups = _describe_groups(power, noun)
    if power.seeds == 1:
        unknown = "one seed cannot tell whether more seeds would help"
        return f"{difference} would take {groups}, and {unknown}" if groups else unknown
    seeds = _describe_seeds(power)
    if groups and seeds:
        return f"{difference} would take {seeds}, or {groups}"
    if seeds:
        return f"no number of {noun}s would show {difference}, but {seeds} would"
    if groups:
        return f"no number of seeds would show {difference}, but {groups} would"
    return f"{difference} would take more seeds and more {noun}s, as neither alone would show it"


def _describe_groups(power: Power, noun: str) -> str:
    if power.groups_needed is None:
        return ""
    times = power.groups_needed / power.groups
    if times > MANY:
        return f"more than {MANY} times as many {noun}s"
    digits = 1 if times < 10 else 0
    return f"about {f'{times:.{digits}f}'.removesuffix('.0')} times as many {noun}s"


def _describe_seeds(power: Power) -> str:
    if power.seeds_needed is None:
        return ""
    is_many = power.seeds_needed > MANY
    return f"more than {MANY} seeds" if is_many else f"about {power.seeds_needed} seeds"


def describe_study(groups: int, seeds: int, noun: str) -> str:
    """Describe the seeds of a study and the groups that they test, all seeds together."""
    if seeds == 1:
        return f"one seed, which tests {pluralize(groups, noun)}"
    return f"{pluralize(seeds, 'seed')}, which test {pluralize(groups, noun)} in all"


def _format_points(share: float) -> str:
    return f"{100 * share:.1f} points"
