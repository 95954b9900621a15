"""Rank rows by their validation accuracy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.compare.pairing import select_whole_seeds
from pipelines.runs.finished_run import FinishedRun
from study.statistics.ties import find_highest

Draw = tuple[int, int]  # seed and fold
# Fields that decide which images a config is validated on, for a given seed and fold
CHOOSES_IMAGES = ("split", "folds", "limit")


@dataclass(frozen=True)
class Ranking:
    """The mean validation accuracy of some rows, on the seeds and folds that all share.

    means: of each row, 0 to 1. NaN if it is not known, and for all rows if there is an obstacle.
    seeds: how many seeds the means are over, if some row has more, else None.
    obstacle: why no row is the best although accuracies are known, as `share no seed`.
    """

    means: list[float]
    seeds: int | None = None
    obstacle: str = ""

    @property
    def best(self) -> list[int]:
        """Return the index of the best row, or those of several that tie, or none."""
        return find_highest(self.means)


def rank_on_validation(rows: Sequence[Sequence[FinishedRun]]) -> Ranking:
    """Rank rows by their mean validation accuracy over the seeds and folds that all share.

    A seed may be easier than another, so rows are not compared over different seeds. A row whose
    accuracy is not known does not count, nor does a cross-validation that lacks folds.
    """
    accuracies = [_list_accuracies(row) for row in rows]
    known = [by_draw for by_draw in accuracies if by_draw]
    shared = set.intersection(*(set(by_draw) for by_draw in known)) if known else set()
    unknown = [math.nan] * len(rows)
    if len({_list_image_fields(row) for row in rows}) > 1:
        return Ranking(unknown, obstacle="are validated on different images")
    if not shared:
        return Ranking(unknown, obstacle="share no seed" if known else "")
    means = [fmean(row[draw] for draw in shared) if row else math.nan for row in accuracies]
    has_more = any(len(by_draw) > len(shared) for by_draw in known)
    return Ranking(means, len({seed for seed, _ in shared}) if has_more else None)


def _list_accuracies(row: Sequence[FinishedRun]) -> dict[Draw, float]:
    """List the known validation accuracies of a row by seed and fold."""
    values = {
        (run.config.seed, run.config.fold): run.metrics.get("val_accuracy", math.nan)
        for run in select_whole_seeds(row)
    }
    return {draw: value for draw, value in values.items() if not math.isnan(value)}


def _list_image_fields(row: Sequence[FinishedRun]) -> tuple[object, ...]:
    return tuple(getattr(row[0].config, name) for name in CHOOSES_IMAGES)
