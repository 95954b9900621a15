"""Say which reported accuracies were reproduced, and which differ."""

from collections.abc import Sequence

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from pipelines.compare.blocks import Row
from pipelines.compare.reflection import name_rows
from pipelines.compare.reflection import spell_count
from pipelines.compare.statement import list_departures
from pipelines.runs.finished_run import FinishedRun
from study.common.words import join_distinct
from study.reported import read_reported
from study.reported import TEST_IMAGES
from study.statistics.intervals import SIGNIFICANCE_LEVEL


def describe_reproduction(rows: Sequence[Row]) -> list[str]:
    """Say which reported accuracies lie in the intervals, and how far others miss."""
    errors = [(row, error) for row in rows if (error := _compute_error(row)) is not None]
    if not errors and not read_reported(rows[0].config.dataset):
        return []
    if not errors:
        return ["There are no reported accuracies to compare with."]
    misses = [(row, error) for row, error in errors if not row.is_reproduced]
    departures = _describe_departures([run for row, _ in errors for run in row.runs])
    return [
        _count_hits(len(errors) - len(misses), len(errors)),
        *_describe_misses(misses),
        *(departures or _count_reported_error([row for row, _ in misses])),
    ]


def _compute_error(row: Row) -> float | None:
    """Compute this study's accuracy minus the reported one.

    Returns:
        None if either is unknown.
    """
    if row.report is None or row.verdict.accuracy is None:
        return None
    return row.verdict.accuracy.value - row.report.test_acc


def _count_hits(hits: int, total: int) -> str:
    where = "within the 95 % interval of this study"
    if total == 1:
        return f"The reported accuracy {'lies' if hits else 'does not lie'} {where}."
    if hits == total == 2:
        return f"Both reported accuracies lie {where}."
    if hits == total:
        return f"All {spell_count(total)} reported accuracies lie {where}."
    subject = spell_count(hits).capitalize() if hits else "None"
    verb = "lie" if hits > 1 else "lies"
    return f"{subject} of the {spell_count(total)} reported accuracies {verb} {where}."


def _describe_misses(misses: Sequence[tuple[Row, float]]) -> list[str]:
    """Say by how many points rows are above or below the reported accuracies."""
    sentences = []
    for side, sign in (("below", -1), ("above", 1)):
        selected = [(row, abs(100 * error)) for row, error in misses if sign * error > 0]
        if not selected:
            continue
        low = f"{min(points for _, points in selected):.1f}"
        high = f"{max(points for _, points in selected):.1f}"
        distances = low if low == high else f"{low} to {high}"
        verb = "is" if len(selected) == 1 else "are"
        subject = name_rows([row for row, _ in selected])
        sentences.append(f"{subject} {verb} {distances} points {side} the report.")
    return sentences


def _count_reported_error(misses: Sequence[Row]) -> list[str]:
    """Say which rows still differ if the reported accuracy is an estimate, too."""
    images = TEST_IMAGES.get(misses[0].config.dataset) if misses else None
    if images is None:
        return []
    differing = [row for row in misses if _differs_from_report(row, images)]
    subject = "No difference is"
    if differing:
        names = name_rows(differing)
        is_one = len(differing) == 1
        noun = "difference" if is_one else "differences"
        subject = f"The {noun} of {names[0].lower()}{names[1:]} {'is' if is_one else 'are'}"
    return [
        "Even if the truth were equal, about one in six would lie outside, because a reported "
        f"accuracy has an error of its own. {subject} larger than both errors together (the "
        f"report's {images} test images taken as independent)."
    ]


def _differs_from_report(row: Row, images: int) -> bool:
    """Return whether the difference from the reported accuracy has an interval without zero.

    The interval is Newcombe's (1998), from that of this study and Jeffreys' of the reported
    accuracy.
    """
    accuracy = row.verdict.accuracy
    assert accuracy is not None
    assert row.report is not None
    reported = row.report.test_acc
    low, high = proportion_confint(reported * images, images, SIGNIFICANCE_LEVEL, method="jeffreys")
    below = np.hypot(accuracy.value - accuracy.low, high - reported)
    above = np.hypot(accuracy.high - accuracy.value, reported - low)
    difference = accuracy.value - reported
    return bool(difference - below > 0 or difference + above < 0)


def _describe_departures(runs: Sequence[FinishedRun]) -> list[str]:
    names = [name.replace("_", " ") for run in runs for name in list_departures(run)]
    if not names:
        return []
    different = f"different: {join_distinct(names)}"
    return [
        f"The protocol is not the report's ({different}), so this neither confirms nor refutes it."
    ]
