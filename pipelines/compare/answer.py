"""Answer the study's question in a few lines.

They are on chance, the report, the best config and how far to trust it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.compare.best_sentence import describe_best
from pipelines.compare.best_sentence import find_best
from pipelines.compare.blocks import Row
from pipelines.compare.formats import format_interval
from pipelines.compare.formats import format_signed_points
from pipelines.compare.formats import state_p
from pipelines.compare.power_sentence import describe_power
from pipelines.compare.ranking import rank_on_validation
from pipelines.compare.reflection import is_significant
from pipelines.compare.reflection import name_rows
from pipelines.compare.reflection import spell_count
from pipelines.compare.reflection import summarize_study
from pipelines.compare.reproduction import describe_reproduction
from pipelines.compare.sweep_sentences import describe_best_cell
from pipelines.runs.finished_run import FinishedRun
from study.common.words import format_percent
from study.common.words import join_distinct
from study.common.words import pluralize


@dataclass(frozen=True)
class AnswerLine:
    """A paragraph of one to four sentences, and the words in bold before it."""

    label: str
    text: str


def write_answer(rows: Sequence[Row]) -> list[AnswerLine]:
    """Write the lines that open the report on the rows of a protocol or sweep."""
    is_sweep = any(row.cell for row in rows)
    best = describe_best_cell(rows) if is_sweep else _describe_best(rows)
    lines = {
        "Better than chance?": _compare_with_chance(rows),
        "Reproduced?": describe_reproduction(rows),
        f"Best {'config' if is_sweep else 'variant'}?": [*best, *summarize_study(rows)],
        "How small a difference would show?": _describe_power(rows) if is_sweep else [],
        "How far to trust this?": _describe_trust(rows),
    }
    return [
        AnswerLine(label, " ".join(sentences)) for label, sentences in lines.items() if sentences
    ]


def _compare_with_chance(rows: Sequence[Row]) -> list[str]:
    """Say whether the best row on validation beats predicting the most frequent class."""
    ties = rank_on_validation([row.runs for row in rows]).best
    best = rows[ties[0]] if ties else None
    if best is None or best.verdict.accuracy is None or best.verdict.chance is None:
        return []
    name = name_rows([best])
    tie = f"first of the {len(ties)} that tie for the " if len(ties) > 1 else ""
    accuracy = best.verdict.accuracy
    chance = best.verdict.chance
    answer = "This is not shown."
    if accuracy.low > chance:
        answer = "Yes."
    elif accuracy.high < chance:
        answer = "No, it is worse."
    return [
        answer,
        f"The {tie}best on validation, {name[0].lower()}{name[1:]}, is right on "
        f"{format_percent(accuracy.value)} of the test images (95 % interval "
        f"{format_interval(accuracy)}). Always predicting the most frequent class is "
        f"right on {format_percent(chance)}.",
    ]


def _describe_best(rows: Sequence[Row]) -> list[str]:
    """Name the best row on validation, and say whether it differs from the baseline."""
    best = find_best(rows)
    return [*describe_best(rows), *(_describe_lead(best, rows) if best else [])]


def _describe_lead(best: Row, rows: Sequence[Row]) -> list[str]:
    """Say that the best row does not differ significantly from the baseline.

    This is said only where other rows differ. Where none differs or the best does, the summary of
    the study says so.
    """
    verdict = best.verdict
    if verdict.gain is None or verdict.p is None or is_significant(best):
        return []
    if not any(is_significant(row) for row in rows):
        return []
    points = format_signed_points(verdict.gain.value)
    return [
        f"Its difference from the baseline ({points} points) is not "
        f"significant (adjusted {state_p(verdict.p)})."
    ]


def _describe_power(rows: Sequence[Row]) -> list[str]:
    """Say what a sweep could have found. That of the variants is in the answers on each factor."""
    return describe_power([row for row in rows if row.verdict.gain and not is_significant(row)])


def _describe_trust(rows: Sequence[Row]) -> list[str]:
    runs = [run for row in rows for run in row.runs]
    return [
        *_describe_subset(runs),
        _describe_leak(runs),
        _describe_seeds(rows),
        *_describe_left_out_seeds(rows),
    ]


def _describe_subset(runs: Sequence[FinishedRun]) -> list[str]:
    limits = sorted({run.config.limit for run in runs if run.config.limit})
    if not limits:
        return []
    return [f"Only about {join_distinct(map(str, limits))} images were used."]


def _describe_leak(runs: Sequence[FinishedRun]) -> str:
    """Say how many test images have a sibling in training, and what follows."""
    counts = [run.least_leaking for run in runs if run.least_leaking]
    if len(counts) < len(runs):
        return "It is not known how many test images have a sibling in training."
    share = fmean(leaking / total for leaking, total in counts)
    if not share:
        return "No test image has a sibling in training, so accuracy is that on unseen groups."
    is_exact = all(run.leaking for run in runs)
    subject = "All test images" if share == 1 else f"{format_percent(share)} of the test images"
    subject = subject if is_exact or share == 1 else f"At least {subject}"
    return (
        f"{subject} have a sibling in training (an image of the same patient or original), so "
        "accuracy partly measures memory."
    )


def _describe_seeds(rows: Sequence[Row]) -> str:
    """Say how many seeds the accuracy of each row is based on, and what follows."""
    judged_rows = [row for row in rows if row.verdict.accuracy]
    if not judged_rows:
        return "No row has an interval, because predictions or folds are missing."
    low = min(row.judged_seeds for row in judged_rows)
    high = max(row.judged_seeds for row in judged_rows)
    if high == 1 and all(row.config.folds for row in rows):
        return (
            "Each row is one cross-validation, of trainings that share most of their images: "
            "differences are tested by the corrected resampled t-test, which accounts for that, "
            "but the interval of an accuracy does not cover the choice of the seed."
        )
    if high == 1:
        is_only_one = all(row.trained_seeds == 1 for row in rows)
        return (
            f"Only one seed {'was trained' if is_only_one else 'has predictions'}, and another may "
            "change an accuracy by some points: a difference may be due to chance."
        )
    if low == 1:
        single_rows = [row for row in judged_rows if row.judged_seeds == 1]
        verb = "was" if len(single_rows) == 1 else "were"
        return (
            f"{name_rows(single_rows)} {verb} judged on one seed only: with another, the result "
            "may differ."
        )
    seeds = spell_count(low) if low == high else f"{spell_count(low)} to {spell_count(high)}"
    return f"Each row was judged on {seeds} seeds, and the intervals account for them."


def _describe_left_out_seeds(rows: Sequence[Row]) -> list[str]:
    """Say in how many rows some seeds were trained, but could not be judged."""
    count = sum(row.verdict.seeds < row.trained_seeds for row in rows)
    if not count:
        return []
    return [
        f"In {count} of {pluralize(len(rows), 'row')}, seeds that lack predictions or folds are "
        "left out."
    ]
