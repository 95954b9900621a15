"""Answers to the reports' three questions, in plain sentences from the evidence."""

import math
from collections.abc import Sequence
from statistics import median

from pipelines.compare.blocks import find_baseline
from pipelines.compare.blocks import Row
from pipelines.compare.power_sentence import describe_power
from study.statistics.intervals import Estimate

SIGNIFICANCE_LEVEL = 0.05  # a difference is significant if its p by Holm's method is below this
# Title of each factor, its config field, and the variants that differ in this factor alone
FACTORS = {
    "Hidden layers": ("hidden_layers", (1, 4, 5)),
    "Dense units": ("dense_units", (1, 2, 3)),
    "Learning rate": ("lr", (1, 6, 7)),
}
QUESTIONS = {
    "Hidden layers": "What does the number of hidden layers change?",
    "Dense units": "What does the number of dense units change?",
    "Learning rate": "What does the learning rate change?",
}


def answer_questions(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return each question with the sentences that answer it.

    Without a baseline there is nothing to compare with, so the result is empty.
    """
    baseline = find_baseline(rows)
    if baseline is None:
        return {}
    return {QUESTIONS[factor]: _answer_question(rows, baseline, factor) for factor in FACTORS}


def summarize_study(rows: Sequence[Row]) -> list[str]:
    """Summarize the result of the study in a few sentences."""
    baseline = find_baseline(rows)
    compared_rows = [row for row in rows if row.verdict.gain and row.verdict.p is not None]
    if baseline is None or baseline.verdict.accuracy is None or not compared_rows:
        return [
            "No comparison is possible: the results of the baseline, or of all other variants, are "
            "missing."
        ]
    significant_rows = [row for row in compared_rows if is_significant(row)]
    if not significant_rows:
        return [_deny_differences(compared_rows, baseline)]
    better_rows = [row for row in significant_rows if _get_gain(row).value > 0]
    worse_rows = [row for row in significant_rows if row not in better_rows]
    return [
        *_describe_differences(better_rows, "more", baseline),
        *_describe_differences(worse_rows, "less", baseline),
        *_qualify_differences(significant_rows, len(compared_rows) - len(significant_rows)),
    ]


def _qualify_differences(significant_rows: Sequence[Row], other_count: int) -> list[str]:
    """Say how many other rows do not differ, and which that differ have one seed only."""
    sentences = []
    if other_count > 0:
        subject = "one does" if other_count == 1 else f"{_spell_count(other_count)} do"
        sentences.append(f"The other {subject} not differ significantly from the baseline.")
    if single_rows := [row for row in significant_rows if row.verdict.pairs == 1]:
        verb = "was" if len(single_rows) == 1 else "were"
        sentences.append(
            f"{_name_rows(single_rows)} {verb} trained with one seed only: with another, the "
            "result may differ."
        )
    return sentences


def _deny_differences(rows: Sequence[Row], baseline: Row) -> str:
    """Say that no row differs significantly from the baseline."""
    p_values = [row.verdict.p for row in rows if row.verdict.p is not None]
    reference = f"the baseline ({_format_accuracy(baseline)}"
    if len(rows) == 1:
        return (
            f"{_name_rows(rows)} does not differ significantly from {reference}; adjusted "
            f"p = {p_values[0]:.3f})."
        )
    none = "Neither" if len(rows) == 2 else "None"
    return (
        f"{none} of the {_spell_count(len(rows))} {_choose_noun(rows)} differs significantly from "
        f"{reference}; smallest adjusted p = {min(p_values):.3f})."
    )


def _describe_differences(rows: Sequence[Row], comparison: str, baseline: Row) -> list[str]:
    """Say in one sentence by how much rows differ from the baseline, if there are any.

    All rows are better, or all are worse: `comparison` is `more` or `less`.
    """
    if not rows:
        return []
    verb = "is" if len(rows) == 1 else "are"
    distances = _join_texts([_format_distance(row) for row in rows])
    ending = ", respectively" if len(rows) > 1 else ""
    return [
        f"{_name_rows(rows)} {verb} significantly {comparison} accurate than the baseline "
        f"({_format_accuracy(baseline)}): by {distances}{ending}."
    ]


def _name_rows(rows: Sequence[Row]) -> str:
    """Name rows as the subject of a sentence: `Variants 4 and 5`."""
    noun = _choose_noun(rows).capitalize()
    names = [str(row.variant) if noun == "Variants" else row.label for row in rows]
    return f"{noun if len(rows) > 1 else noun.removesuffix('s')} {_join_texts(names)}"


def _choose_noun(rows: Sequence[Row]) -> str:
    return "variants" if all(row.variant for row in rows) else "configs"


def _spell_count(count: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[count] if count < len(words) else str(count)


def _join_texts(texts: Sequence[str]) -> str:
    """Join texts as in `a`, `a and b`, `a, b and c`."""
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last


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
        return ["No variant that changes this was trained."]
    sentences = [_describe_gain(row, baseline, field) for row in others]
    uncertain_rows = [row for row in others if row.verdict.gain and not is_significant(row)]
    return [
        *sentences,
        *describe_power(uncertain_rows),
        _describe_learning_time(others, baseline),
    ]


def _describe_gain(row: Row, baseline: Row, field: str) -> str:
    """Say in one sentence how a row differs from the baseline, and whether by chance."""
    name = field.replace("_", " ").replace("lr", "learning rate")
    change = f"{name} {_format_setting(row, field)} instead of {_format_setting(baseline, field)}"
    if row.verdict.gain is None or row.verdict.p is None:
        return (
            f"With {change}, no comparison is possible: no seed has predictions of both variants."
        )
    interval = f"{_format_gain(row)}, p = {row.verdict.p:.3f}".replace("p = 0.000", "p < 0.001")
    if not is_significant(row):
        return f"With {change}, there is no evidence of a difference ({interval})."
    direction = "better" if row.verdict.gain.value > 0 else "worse"
    if row.verdict.pairs == 1:
        return (
            f"With {change}, this one training was {direction} ({interval}). One seed cannot "
            "show whether another training would be, too."
        )
    return f"With {change}, accuracy is {direction} ({interval})."


def _describe_learning_time(others: Sequence[Row], baseline: Row) -> str:
    """Say in one sentence how the learning times compare with the baseline's."""
    ratios = [row.verdict.time_ratio for row in others if row.verdict.time_ratio is not None]
    finite_ratios = [ratio for ratio in ratios if math.isfinite(ratio)]
    if not finite_ratios:
        return "Learning times are not known."
    seconds = median(run.metrics["fit_seconds"] for run in baseline.runs)
    low = f"{min(finite_ratios):.2f}"
    high = f"{max(finite_ratios):.2f}"
    times = low if low == high else f"{low} to {high}"
    return f"Learning took {times} times the baseline's {seconds / 60:.1f} minutes (median)."


def _format_setting(row: Row, field: str) -> str:
    return f"{getattr(row.runs[0].config, field):g}"


def _format_accuracy(row: Row) -> str:
    accuracy = row.verdict.accuracy
    assert accuracy is not None
    interval = f"95 % interval {100 * accuracy.low:.2f} to {100 * accuracy.high:.2f}"
    return f"{100 * accuracy.value:.2f} %, {interval}"


def _format_gain(row: Row) -> str:
    gain = _get_gain(row)
    return f"{100 * gain.value:+.2f} points ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"


def _format_distance(row: Row) -> str:
    """Format a gain or loss without its sign, which the sentence tells in words."""
    gain = _get_gain(row)
    sign = 1 if gain.value > 0 else -1
    low, high = sorted(100 * sign * bound for bound in (gain.low, gain.high))
    return f"{100 * sign * gain.value:.2f} points ({low:.2f} to {high:.2f})"
