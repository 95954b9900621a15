"""Count the test images of runs, and compare two sets of runs on the same images."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from pipelines.runs.finished_run import FinishedRun
from study.statistics.counts import Counts
from study.statistics.cross_validation import estimate_fold_difference
from study.statistics.cross_validation import FoldGains
from study.statistics.intervals import Estimate
from study.statistics.intervals import estimate_difference
from study.statistics.predictions import GroupCounts

CountsByRun = Mapping[str, GroupCounts]  # the test images of each run by group, by run ID


@dataclass(frozen=True)
class Pairs:
    """The test images of two sets of runs, the same for each seed and fold.

    folds: the differences by fold, if this is a cross-validation.
    """

    one: Counts
    base: Counts
    seeds: list[int]
    folds: FoldGains | None

    def estimate_gain(self) -> Estimate:
        """Estimate the difference in accuracy, by the test that suits these trainings."""
        # Where no fold distinguishes the two, the images tell how large a difference may be missed.
        if self.folds is None or not self.folds.gains.any():
            return estimate_difference(self.one, self.base)
        return estimate_fold_difference(self.folds)


def select_whole_seeds(runs: Iterable[FinishedRun]) -> list[FinishedRun]:
    """Select the runs of seeds that lack no fold.

    Without folds, these are all runs.
    """
    runs = list(runs)
    folds_by_seed: dict[int, set[int]] = {}
    for run in runs:
        folds_by_seed.setdefault(run.config.seed, set()).add(run.config.fold)
    return [run for run in runs if len(folds_by_seed[run.config.seed]) >= run.config.folds]


def list_seeds(runs: Iterable[FinishedRun]) -> list[int]:
    """List the seeds of some runs in order, each once."""
    return sorted({run.config.seed for run in runs})


def pair_runs(
    one: Iterable[FinishedRun], base: Iterable[FinishedRun], counts_by_run: CountsByRun
) -> Pairs | None:
    """Count the runs of the seeds that two configs have in common.

    Each of the two may also be a set of configs.

    Args:
        one: the runs of one.
        base: the runs to compare them with.
        counts_by_run: the test images. Runs that are not among them do not count.

    Returns:
        None if there is no such seed, or if the test images are not the same.
    """
    one_runs, base_runs = (
        select_whole_seeds(run for run in runs if run.run_id in counts_by_run)
        for runs in (one, base)
    )
    seeds = sorted(set(list_seeds(one_runs)).intersection(list_seeds(base_runs)))
    rows = [[run for run in runs if run.config.seed in seeds] for runs in (one_runs, base_runs)]
    if not seeds:
        return None
    one_counts, base_counts = align_counts(rows, seeds, counts_by_run)
    if not np.array_equal(one_counts.tested, base_counts.tested):
        return None
    folds = _measure_folds(rows, counts_by_run) if one_runs[0].config.folds else None
    return Pairs(one_counts, base_counts, seeds, folds)


def align_counts(
    rows: Sequence[Sequence[FinishedRun]], seeds: Sequence[int], counts_by_run: CountsByRun
) -> list[Counts]:
    """Count the test images of each row over the same groups and seeds.

    The folds of a seed count together, and so do the configs of a row.
    """
    # Runs of one test set share one array of group names, so each is looked up only once.
    parts = [counts_by_run[run.run_id] for row in rows for run in row]
    groups_by_id = {id(part.groups): part.groups for part in parts}
    names = np.unique(np.concatenate(list(groups_by_id.values())))
    indices_by_id = {key: np.searchsorted(names, groups) for key, groups in groups_by_id.items()}
    counts = []
    for row in rows:
        right, total = np.zeros((2, len(names), len(seeds)))
        for run in row:
            part = counts_by_run[run.run_id]
            column = seeds.index(run.config.seed)
            indices = indices_by_id[id(part.groups)]
            right[indices, column] += part.right
            total[indices, column] += part.tested
        counts.append(Counts(right, total))
    return counts


def _measure_folds(rows: Sequence[Sequence[FinishedRun]], counts_by_run: CountsByRun) -> FoldGains:
    """Measure the difference between two rows on each fold of each seed."""
    draws = sorted({(run.config.seed, run.config.fold) for run in rows[0]})
    right = np.zeros((2, len(draws)))
    total = np.zeros(len(draws))
    for number, row in enumerate(rows):
        for run in row:
            index = draws.index((run.config.seed, run.config.fold))
            right[number, index] += counts_by_run[run.run_id].right.sum()
            total[index] += counts_by_run[run.run_id].tested.sum() / 2  # both rows count
    seeds = np.array([seed for seed, _ in draws])
    totals_of_seeds = np.array([total[seeds == seed].sum() for seed in seeds])
    weights = total / totals_of_seeds / len(set(seeds.tolist()))
    ratio = fmean(_compute_test_ratio(run) for run in rows[0])
    return FoldGains((right[0] - right[1]) / total, weights, ratio)


def _compute_test_ratio(run: FinishedRun) -> float:
    """Divide the number of test images of a fold by that of its training images."""
    if run.part_sizes is None or not run.part_sizes[0]:  # of a run that did not log them
        return 1 / (run.config.folds - 1)
    return run.part_sizes[2] / run.part_sizes[0]
