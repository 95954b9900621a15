"""Answers to the reports' three questions, in plain sentences from the evidence."""

import math
from collections.abc import Sequence
from statistics import median

from pipelines.compare.blocks import find_base
from pipelines.compare.blocks import Row
from pipelines.page.charts import FACTORS

SIGNIFICANCE_LEVEL = 0.05  # a difference is called real if its p by Holm's method is below this
QUESTIONS = {
    "Hidden layers": "What does the number of hidden layers change?",
    "Dense units": "What does the number of dense units change?",
    "Learning rate": "What does the learning rate change?",
}


def answer_questions(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return each question with the sentences that answer it.

    Without a base variant there is nothing to compare with, so the result is empty.
    """
    base = find_base(rows)
    if base is None:
        return {}
    return {QUESTIONS[factor]: _answer_question(rows, base, factor) for factor in FACTORS}


def summarize_study(rows: Sequence[Row]) -> list[str]:
    """Summarize the result of the study in a sentence or two."""
    base = find_base(rows)
    compared_rows = [row for row in rows if row.verdict.gain and row.verdict.p is not None]
    if base is None or base.verdict.accuracy is None or not compared_rows:
        return ["No comparison is possible: the base variant, or every other one, is missing."]
    real_rows = [row for row in compared_rows if is_significant(row)]
    best = max(compared_rows, key=lambda row: row.verdict.gain.value if row.verdict.gain else 0)
    base_accuracy = f"{_format_accuracy(base)} for the base variant"
    kind = "variants" if all(row.variant for row in compared_rows) else "configs"
    if not real_rows:
        return [
            f"No evidence of a difference: of {len(compared_rows)} {kind}, none is told from the "
            f"base ({base_accuracy}); the largest gain seen is {_format_gain(best)} ({best.label})."
        ]
    gains = "; ".join(f"{row.label} {_format_gain(row)}" for row in real_rows)
    sentences = [
        f"{len(real_rows)} of {len(compared_rows)} {kind} differ from the base ({base_accuracy}): "
        f"{gains}."
    ]
    single_pair_labels = [row.label for row in real_rows if row.verdict.pairs == 1]
    if single_pair_labels:
        labels = ", ".join(single_pair_labels)
        sentences.append(f"Of {labels} only one training is known; another may differ.")
    return sentences


def is_significant(row: Row) -> bool:
    """Return whether a row differs from the base beyond chance at `LEVEL`."""
    return row.verdict.p is not None and row.verdict.p < SIGNIFICANCE_LEVEL


def _answer_question(rows: Sequence[Row], base: Row, factor: str) -> list[str]:
    """Say what each variant that changes the factor gains, and how long it takes."""
    field, variants = FACTORS[factor]
    others = [row for row in rows if row.variant in variants and row is not base]
    if not others:
        return ["No variant that changes it has been trained."]
    sentences = [_describe_gain(row, base, field) for row in others]
    return [*sentences, _describe_learning_time(others, base)]


def _describe_gain(row: Row, base: Row, field: str) -> str:
    """Say in one sentence how a row differs from the base, and whether by chance."""
    name = field.replace("_", " ").replace("lr", "learning rate")
    change = f"{name} {_format_setting(row, field)} instead of {_format_setting(base, field)}"
    if row.verdict.gain is None or row.verdict.p is None:
        return f"With {change}, nothing can be said: no seed is shared with the base."
    interval = f"{_format_gain(row)}, p = {row.verdict.p:.3f}".replace("p = 0.000", "p < 0.001")
    if not is_significant(row):
        return f"With {change}, there is no evidence of a difference ({interval})."
    direction = "better" if row.verdict.gain.value > 0 else "worse"
    if row.verdict.pairs == 1:
        return (
            f"With {change}, this one training was {direction} ({interval}); whether another "
            "would be, one seed cannot say."
        )
    return f"With {change}, accuracy is {direction} ({interval})."


def _describe_learning_time(others: Sequence[Row], base: Row) -> str:
    """Say in one sentence how the learning times compare with the base's."""
    ratios = [row.verdict.time_ratio for row in others if row.verdict.time_ratio is not None]
    finite_ratios = [ratio for ratio in ratios if math.isfinite(ratio)]
    if not finite_ratios:
        return "Learning times are not known."
    seconds = median(run.metrics["fit_seconds"] for run in base.runs)
    low = f"{min(finite_ratios):.2f}"
    high = f"{max(finite_ratios):.2f}"
    times = low if low == high else f"{low} to {high}"
    return f"Learning took {times} times the base's {seconds / 60:.1f} minutes (median)."


def _format_setting(row: Row, field: str) -> str:
    return f"{getattr(row.runs[0].config, field):g}"


def _format_accuracy(row: Row) -> str:
    accuracy = row.verdict.accuracy
    assert accuracy is not None
    interval = f"{100 * accuracy.low:.2f} to {100 * accuracy.high:.2f}"
    return f"{100 * accuracy.value:.2f} % ({interval})"


def _format_gain(row: Row) -> str:
    gain = row.verdict.gain
    assert gain is not None
    return f"{100 * gain.value:+.2f} points ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
