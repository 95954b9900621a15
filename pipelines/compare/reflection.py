"""The reports' three questions, answered from the evidence in plain sentences."""

import math
from collections.abc import Sequence
from statistics import median

from pipelines.compare.evidence import base_of
from pipelines.compare.evidence import Row
from pipelines.page.charts import FACTORS

LEVEL = 0.05  # Holm's p below which a difference is called real
QUESTIONS = {
    "Hidden layers": "What does the number of hidden layers change?",
    "Dense units": "What does the number of dense units change?",
    "Learning rate": "What does the learning rate change?",
}


def reflection(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Each question with the sentences that answer it."""
    base = base_of(rows)
    if base is None:
        return {}
    return {QUESTIONS[factor]: _answer(rows, base, factor) for factor in FACTORS}


def summary(rows: Sequence[Row]) -> list[str]:
    """What the study comes to, in a sentence or two."""
    base = base_of(rows)
    compared = [row for row in rows if row.verdict.gain and row.verdict.p is not None]
    if base is None or base.verdict.accuracy is None or not compared:
        return ["No comparison is possible: the base variant, or every other one, is missing."]
    real = [row for row in compared if is_real(row)]
    best = max(compared, key=lambda row: row.verdict.gain.value if row.verdict.gain else 0)
    told = f"{_percent(base)} for the base variant"
    kind = "variants" if all(row.variant for row in compared) else "configs"
    if not real:
        return [
            f"No evidence of a difference: of {len(compared)} {kind}, none is told from the base "
            f"({told}); the largest gain seen is {_points(best)} ({best.label})."
        ]
    names = "; ".join(f"{row.label} {_points(row)}" for row in real)
    found = [f"{len(real)} of {len(compared)} {kind} differ from the base ({told}): {names}."]
    once = [row.label for row in real if row.verdict.pairs == 1]
    if once:
        found.append(f"Of {', '.join(once)} only one training is known; another may differ.")
    return found


def is_real(row: Row) -> bool:
    """Whether a row's difference from the base is beyond chance at `LEVEL`."""
    return row.verdict.p is not None and row.verdict.p < LEVEL


def _answer(rows: Sequence[Row], base: Row, factor: str) -> list[str]:
    field, variants = FACTORS[factor]
    others = [row for row in rows if row.variant in variants and row is not base]
    if not others:
        return ["No variant that changes it has been trained."]
    return [*(_told(row, base, field) for row in others), _of_time(others, base)]


def _told(row: Row, base: Row, field: str) -> str:
    name = field.replace("_", " ").replace("lr", "learning rate")
    what = f"{name} {_value(row, field)} instead of {_value(base, field)}"
    if row.verdict.gain is None or row.verdict.p is None:
        return f"With {what}, nothing can be said: no seed is shared with the base."
    interval = f"{_points(row)}, p = {row.verdict.p:.3f}".replace("p = 0.000", "p < 0.001")
    if not is_real(row):
        return f"With {what}, there is no evidence of a difference ({interval})."
    word = "better" if row.verdict.gain.value > 0 else "worse"
    if row.verdict.pairs == 1:
        return (
            f"With {what}, this one training was {word} ({interval}); whether another would be, "
            "one seed cannot say."
        )
    return f"With {what}, accuracy is {word} ({interval})."


def _of_time(others: Sequence[Row], base: Row) -> str:
    ratios = [row.verdict.time_ratio for row in others if row.verdict.time_ratio is not None]
    known = [ratio for ratio in ratios if math.isfinite(ratio)]
    if not known:
        return "Learning times are not known."
    seconds = median(run.metrics["fit_seconds"] for run in base.runs)
    low, high = min(known), max(known)
    times = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    return f"Learning took {times} times the base's {seconds / 60:.1f} minutes (median)."


def _value(row: Row, field: str) -> str:
    return f"{getattr(row.runs[0].config, field):g}"


def _percent(row: Row) -> str:
    found = row.verdict.accuracy
    assert found is not None
    return f"{100 * found.value:.2f} % ({100 * found.low:.2f} to {100 * found.high:.2f})"


def _points(row: Row) -> str:
    gain = row.verdict.gain
    assert gain is not None
    return f"{100 * gain.value:+.2f} points ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})"
