"""Answers to the reports' three questions, in plain sentences from the evidence."""

import math
from collections.abc import Sequence

from pipelines.compare.blocks import find_baseline
from pipelines.compare.blocks import Row
from pipelines.compare.columns import format_learning_rate
from pipelines.compare.formats import format_bounds
from pipelines.compare.formats import format_distance
from pipelines.compare.formats import format_duration
from pipelines.compare.formats import state_p
from pipelines.compare.power_sentence import describe_power
from pipelines.compare.row_figures import compute_median_fit_seconds
from study.common.words import join_texts
from study.statistics.intervals import Estimate
from study.statistics.intervals import SIGNIFICANCE_LEVEL

# Title of each factor, its config field, and the variants that differ in this factor alone
FACTORS = {
    "Hidden layers": ("hidden_layers", (1, 4, 5)),
    "Dense units": ("dense_units", (1, 2, 3)),
    "Learning rate": ("lr", (1, 6, 7)),
}
ONE_SEED = "Another seed may show otherwise."
MOST_NAMES = 4  # configs to name in a sentence: their names are long
QUESTIONS = {
    "Hidden layers": "What does the number of hidden layers change?",
    "Dense units": "What does the number of dense units change?",
    "Learning rate": "What does the learning rate change?",
}


def answer_questions(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return each question with the sentences that answer it.

    Without a baseline there is nothing to compare with, so the result is empty. It is also empty
    for a sweep, which has questions of its own.
    """
    baseline = find_baseline(rows)
    if baseline is None or baseline.cell:
        return {}
    return {QUESTIONS[factor]: _answer_question(rows, baseline, factor) for factor in FACTORS}


def summarize_study(rows: Sequence[Row]) -> list[str]:
    """Summarize the result of the study in a few sentences."""
    baseline = find_baseline(rows)
    compared_rows = [row for row in rows if row.verdict.gain and row.verdict.p is not None]
    obstacles = [row for row in rows if row.verdict.obstacle and row.verdict.accuracy is None]
    if not compared_rows and obstacles:
        return [f"{name_rows(obstacles[:1])}: {obstacles[0].verdict.obstacle}."]
    not_compared = _describe_obstacles(rows)
    if not compared_rows and not_compared:
        return not_compared
    if baseline is None or baseline.verdict.accuracy is None or not compared_rows:
        return [
            f"No comparison is possible: the results of the baseline, or of all other "
            f"{choose_noun(rows)}, are "
            "missing."
        ]
    significant_rows = [row for row in compared_rows if is_significant(row)]
    if not significant_rows:
        return [_deny_differences(compared_rows), *not_compared]
    better_rows = [row for row in significant_rows if _get_gain(row).value > 0]
    worse_rows = [row for row in significant_rows if row not in better_rows]
    return [
        *_describe_differences(better_rows, "more"),
        *_describe_differences(worse_rows, "less"),
        *_describe_others(len(compared_rows) - len(significant_rows)),
        *([ONE_SEED] if any(row.is_one_training for row in significant_rows) else []),
        *not_compared,
    ]


def _describe_obstacles(rows: Sequence[Row]) -> list[str]:
    """Say which rows cannot be compared with the baseline, a sentence for each reason."""
    rows_by_obstacle: dict[str, list[Row]] = {}
    for row in rows:
        if row.verdict.obstacle and row.verdict.accuracy is not None:
            rows_by_obstacle.setdefault(row.verdict.obstacle, []).append(row)
    return [
        f"{name_rows(obstructed)} cannot be compared with the baseline: {obstacle}."
        for obstacle, obstructed in rows_by_obstacle.items()
    ]


def _describe_others(count: int) -> list[str]:
    """Say how many rows do not differ, if there are any beside those that do."""
    if not count:
        return []
    subject = "one does" if count == 1 else f"{spell_count(count)} do"
    return [f"The other {subject} not differ significantly from it."]


def _deny_differences(rows: Sequence[Row]) -> str:
    """Say that no row differs significantly from the baseline."""
    p_values = [row.verdict.p for row in rows if row.verdict.p is not None]
    if len(rows) == 1:
        return (
            f"{name_rows(rows)} does not differ significantly from the baseline "
            f"(adjusted {state_p(p_values[0])})."
        )
    none = "Neither" if len(rows) == 2 else "None"
    return (
        f"{none} of the {spell_count(len(rows))} {choose_noun(rows)} differs significantly from "
        f"the baseline (smallest adjusted {state_p(min(p_values))})."
    )


def _describe_differences(rows: Sequence[Row], comparison: str) -> list[str]:
    """Say in one sentence by how much rows differ from the baseline, if there are any.

    All rows are better, or all are worse: `comparison` is `more` or `less`.
    """
    one_training_rows = [row for row in rows if row.is_one_training]
    other_rows = [row for row in rows if not row.is_one_training]
    return [
        _describe_difference(some, comparison) for some in (other_rows, one_training_rows) if some
    ]


def _describe_difference(rows: Sequence[Row], comparison: str) -> str:
    """Say by how much rows differ, of single trainings as of what happened once."""
    names = name_rows(rows)
    subject = f"{names} {'is' if len(rows) == 1 else 'are'}"
    if rows[0].is_one_training:
        subject = on_one_seed(f"{names} {'was' if len(rows) == 1 else 'were'}")
    distances = join_texts([format_distance(_get_gain(row)) for row in rows])
    if _is_too_long(rows):
        sizes = [100 * abs(_get_gain(row).value) for row in rows]
        distances = f"{min(sizes):.1f} to {max(sizes):.1f} points"
    return f"{subject} significantly {comparison} accurate than the baseline, by {distances}."


def on_one_seed(sentence: str) -> str:
    """Begin a sentence with words that keep it from being about other seeds."""
    return f"On the one seed compared, {sentence[0].lower()}{sentence[1:]}"


def name_rows(rows: Sequence[Row]) -> str:
    """Name rows as the subject of a sentence: `Variants 4 and 5`, or `Seven configs`."""
    if _is_too_long(rows):
        return f"{spell_count(len(rows)).capitalize()} {choose_noun(rows)}"
    noun = choose_noun(rows).capitalize()
    names = [str(row.variant) if noun == "Variants" else row.label for row in rows]
    return f"{noun if len(rows) > 1 else noun.removesuffix('s')} {join_texts(names)}"


def _is_too_long(rows: Sequence[Row]) -> bool:
    """Return whether the names of rows are too many for a sentence."""
    return len(rows) > MOST_NAMES and choose_noun(rows) == "configs"


def choose_noun(rows: Sequence[Row]) -> str:
    """Return what rows are called: `variants`, or `configs`."""
    return "variants" if all(row.variant and not row.cell for row in rows) else "configs"


def spell_count(count: int) -> str:
    """Spell a count of up to nine: `seven`, but `12`."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[count] if count < len(words) else str(count)


def _get_gain(row: Row) -> Estimate:
    gain = row.verdict.gain
    assert gain is not None
    return gain


def is_significant(row: Row) -> bool:
    """Return whether a row differs from the baseline significantly."""
    return row.verdict.p is not None and row.verdict.p < SIGNIFICANCE_LEVEL


def _answer_question(rows: Sequence[Row], baseline: Row, factor: str) -> list[str]:
    """Say what each variant that changes the factor gains, and how long it takes."""
    field, variants = FACTORS[factor]
    others = [row for row in rows if row.variant in variants and row is not baseline]
    if not others:
        return ["No variant that changes this alone was trained."]
    comparisons = sum(bool(row.variant and row.verdict.gain) for row in rows)
    sentences = [_describe_gain(row, baseline, field, comparisons) for row in others]
    uncertain_rows = [row for row in others if row.verdict.gain and not is_significant(row)]
    return [
        *sentences,
        *describe_power(uncertain_rows),
        _describe_learning_time(others, baseline),
    ]


def describe_adjustment(comparisons: int) -> str:
    """Say over how many comparisons p is adjusted, where that decides."""
    return f"after adjustment for {spell_count(comparisons)} comparisons"


def _describe_gain(row: Row, baseline: Row, field: str, comparisons: int) -> str:
    """Say in one sentence how a row differs from the baseline, and whether by chance."""
    level = _name_level(field, format_factor_value(row, field))
    change = f"{level} instead of {format_factor_value(baseline, field)}"
    if row.verdict.gain is None or row.verdict.p is None:
        return f"With {change}, no comparison is possible: {row.verdict.obstacle}."
    interval = f"{_format_gain(row)}, adjusted {state_p(row.verdict.p)}"
    if not is_significant(row) and row.verdict.gain.p < SIGNIFICANCE_LEVEL:
        adjusted = describe_adjustment(comparisons)
        return f"With {change}, the difference is not significant {adjusted} ({interval})."
    if not is_significant(row):
        return f"With {change}, there is no evidence of a difference ({interval})."
    direction = "better" if row.verdict.gain.value > 0 else "worse"
    if row.is_one_training:
        return f"With {change}, this one training was {direction} ({interval}). {ONE_SEED}"
    return f"With {change}, accuracy is {direction} ({interval})."


def _describe_learning_time(others: Sequence[Row], baseline: Row) -> str:
    """Say in one sentence how the learning times compare with the baseline's."""
    ratios = [row.verdict.time_ratio for row in others if row.verdict.time_ratio is not None]
    finite_ratios = [ratio for ratio in ratios if math.isfinite(ratio)]
    if not finite_ratios:
        return "Learning times are not known."
    seconds = compute_median_fit_seconds(baseline.runs)
    low = f"{min(finite_ratios):.2f}"
    high = f"{max(finite_ratios):.2f}"
    times = low if low == high else f"{low} to {high}"
    return f"Learning took {times} times as long as the baseline ({format_duration(seconds)})."


def _name_level(field: str, value: str) -> str:
    """Name the level of a factor, as `2 hidden layers` or `a learning rate of 5e-5`."""
    return f"a learning rate of {value}" if field == "lr" else f"{value} {field.replace('_', ' ')}"


def format_factor_value(row: Row, field: str) -> str:
    """Format the value that a row has for a factor's field."""
    value = getattr(row.config, field)
    return format_learning_rate(value) if field == "lr" else str(value)


def _format_gain(row: Row) -> str:
    """Format a gain as `-1.1 points, 95 % interval -2.1 to -0.2`."""
    value, low, high = format_bounds(_get_gain(row))
    return f"{value} points, 95 % interval {low} to {high}"
