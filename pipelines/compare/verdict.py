"""Judge one config, by itself and against the baseline."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from statistics import fmean

from pipelines.compare.pairing import align_counts
from pipelines.compare.pairing import CountsByRun
from pipelines.compare.pairing import list_seeds
from pipelines.compare.pairing import pair_runs
from pipelines.compare.pairing import select_whole_seeds
from pipelines.compare.row_figures import compute_median_fit_seconds
from pipelines.runs.finished_run import FinishedRun
from study.statistics.difference_variance import DifferenceVariance
from study.statistics.difference_variance import estimate_difference_variance
from study.statistics.intervals import Estimate
from study.statistics.intervals import estimate_accuracy
from study.statistics.intervals import estimate_chance_to_win
from study.statistics.power import Power

BASELINE = 1  # the variant that the others are compared with


@dataclass(frozen=True)
class Verdict:
    """Accuracy of one config, and how it compares with that of the baseline.

    Accuracies are 0 to 1, differences -1 to 1. None means not known.

    accuracy: the mean over seeds, with its interval.
    deviation: the standard deviation of accuracy between seeds, if there are two or more.
    gain: accuracy minus that of the baseline, on the same seeds and images, with the p of this
        pair.
    p: the p of the gain, adjusted by Holm's method for all configs compared with the baseline.
    wins: the probability that a training beats one of the baseline on the same seed, if there are
        two seeds or more.
    variance: the parts of the variance of the gain. None also if nothing distinguishes the two.
    power: the smallest difference that this comparison could have found, after Holm's adjustment,
        and what would find the gain.
    time_ratio: the median learning time divided by the baseline's.
    seeds: the number of seeds with predictions.
    pairs: the number of these that the baseline has, too.
    grouped: whether the interval takes groups into account.
    obstacle: why there is no accuracy or gain, in a few words for the table.
    lead: of a sweep, accuracy minus that of the best config on validation, with the p of this pair.
    lead_p: the p of the lead, adjusted like that of the gain.
    lead_pairs: the number of seeds that the best has, too.
    chance: the mean share of the most frequent class among the test images.
    """

    accuracy: Estimate | None = None
    deviation: float | None = None
    gain: Estimate | None = None
    p: float | None = None
    wins: Estimate | None = None
    variance: DifferenceVariance | None = None
    power: Power | None = None
    time_ratio: float | None = None
    seeds: int = 0
    pairs: int = 0
    grouped: bool = False
    obstacle: str = ""
    lead: Estimate | None = None
    lead_p: float | None = None
    lead_pairs: int = 0
    chance: float | None = None


def judge_alone(row: Sequence[FinishedRun], counts_by_run: CountsByRun) -> Verdict:
    """Judge a row by itself, without the baseline."""
    tested_runs = [run for run in row if run.run_id in counts_by_run]
    whole_runs = select_whole_seeds(tested_runs)
    seeds = list_seeds(whole_runs)
    if not seeds:
        return Verdict(obstacle=_describe_missing_folds(row, tested_runs))
    (counts,) = align_counts([whole_runs], seeds, counts_by_run)
    deviation = float(counts.accuracy_by_seed.std(ddof=1)) if len(seeds) > 1 else None
    grouped = all(counts_by_run[run.run_id].grouped for run in whole_runs)
    return Verdict(
        estimate_accuracy(counts),
        deviation,
        seeds=len(seeds),
        grouped=grouped,
        chance=_compute_chance(whole_runs, counts_by_run),
    )


def _compute_chance(runs: Sequence[FinishedRun], counts_by_run: CountsByRun) -> float | None:
    """Compute the mean accuracy of always predicting the most frequent class.

    The mean is over seeds.

    Returns:
        None if no labels are known.
    """
    labels_by_seed: dict[int, Counter[str]] = {}
    for run in runs:
        labels_by_seed.setdefault(run.config.seed, Counter()).update(
            counts_by_run[run.run_id].labels
        )
    shares = [max(labels.values()) / labels.total() for labels in labels_by_seed.values() if labels]
    return fmean(shares) if shares else None


def _describe_missing_folds(row: Sequence[FinishedRun], tested_runs: Sequence[FinishedRun]) -> str:
    """Say what a cross-validation without a verdict lacks.

    Returns:
        `""` if there are no folds.
    """
    folds = row[0].config.folds
    if not folds:
        return ""
    trained_count = max(Counter(run.config.seed for run in row).values())
    if trained_count < folds:
        return f"{trained_count} of {folds} folds: no verdict yet"
    tested_count = max(Counter(run.config.seed for run in tested_runs).values(), default=0)
    return f"predictions of {folds - tested_count} of {folds} folds missing: no verdict"


def compare_with_baseline(
    verdict: Verdict,
    row: Sequence[FinishedRun],
    baseline: Sequence[FinishedRun],
    counts_by_run: CountsByRun,
) -> Verdict:
    """Add to a verdict how its row compares with the baseline."""
    verdict = replace(verdict, time_ratio=_compute_time_ratio(row, baseline))
    pairs = pair_runs(row, baseline, counts_by_run)
    if pairs is None:
        return verdict
    gain = pairs.estimate_gain()
    wins = estimate_chance_to_win(pairs.one, pairs.base) if len(pairs.seeds) > 1 else None
    # The variance of a cross-validation is another one: its trainings share images.
    variance = None if pairs.folds else estimate_difference_variance(pairs.one, pairs.base)
    return replace(
        verdict, gain=gain, p=gain.p, wins=wins, variance=variance, pairs=len(pairs.seeds)
    )


def _compute_time_ratio(row: Sequence[FinishedRun], baseline: Sequence[FinishedRun]) -> float:
    """Divide the median learning time of a row by the baseline's.

    The ratio is not a number if either time is unknown, or the baseline's is zero.
    """
    row_time = compute_median_fit_seconds(row)
    baseline_time = compute_median_fit_seconds(baseline)
    return row_time / baseline_time if baseline_time else math.nan
