"""Sum up the runs of a row: means, seeds, folds and counts."""

import math
import sys
from collections.abc import Iterable
from statistics import fmean
from statistics import median

from pipelines.compare.pairing import select_whole_seeds
from pipelines.runs.finished_run import FinishedRun


def format_seeds(runs: list[FinishedRun]) -> str:
    """Write the seeds as `0 1 2`, once each in a cross-validation."""
    seeds = [str(run.config.seed) for run in runs]
    return " ".join(dict.fromkeys(seeds) if runs[0].config.folds else seeds)


def format_folds(runs: list[FinishedRun]) -> str:
    """Write the folds as `1 2 3 of 5`, or `1 2 3, 1 2 of 5` if they differ by seed."""
    folds = runs[0].config.folds
    folds_by_seed: dict[int, list[str]] = {}
    for run in runs:
        folds_by_seed.setdefault(run.config.seed, []).append(str(run.config.fold))
    distinct = dict.fromkeys(" ".join(numbers) for numbers in folds_by_seed.values())
    return f"{', '.join(distinct)} of {folds}" if folds else ""


def average_share(counts: list[tuple[int, int] | None]) -> float:
    """Return the mean share (0 to 1) of images counted among all, NaN if any is unknown."""
    known_counts = [count for count in counts if count]
    is_known = len(known_counts) == len(counts)
    return fmean(part / total for part, total in known_counts) if is_known else math.nan


def read_metric(runs: list[FinishedRun], metric: str) -> list[float]:
    """Return a metric of each run, or NaN where a run lacks it."""
    return [_restore_infinity(run.metrics.get(metric, math.nan)) for run in runs]


def compute_median_fit_seconds(runs: Iterable[FinishedRun]) -> float:
    """Return the median learning time of the runs that logged it, or NaN if none did."""
    seconds = [run.metrics.get("fit_seconds", math.nan) for run in runs]
    known_seconds = [value for value in seconds if math.isfinite(value)]
    return median(known_seconds) if known_seconds else math.nan


def average_metric(runs: list[FinishedRun], metric: str) -> float:
    """Return the mean of a metric over runs.

    With folds, metrics on test images are weighted by the number of these images, if it is known,
    and seeds that lack a fold count only where all do.
    """
    runs = select_whole_seeds(runs) or runs
    values = read_metric(runs, metric)
    if runs[0].config.folds and metric in ("test_loss", "test_accuracy"):
        sizes = [run.part_sizes for run in runs]
        test_counts = [parts[2] for parts in sizes if parts]
        if len(test_counts) == len(runs):
            return fmean(values, test_counts)
    return fmean(values)


def _restore_infinity(value: float) -> float:
    # MLflow's databases store infinity as the largest float.
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def format_counts(texts: list[str]) -> str:
    """Write counts as `812/1168`, or `798-812/1168` where they differ between seeds."""
    distinct = sorted(set(texts))
    counts_of_texts = [text.split("/") for text in distinct]
    lengths = {len(counts) for counts in counts_of_texts}
    if len(lengths) > 1 or not all(n.isdigit() for counts in counts_of_texts for n in counts):
        return " or ".join(distinct)
    return "/".join(_format_span(counts) for counts in zip(*counts_of_texts, strict=True))


def _format_span(counts: Iterable[str]) -> str:
    values = {int(count) for count in counts}
    low = min(values)
    high = max(values)
    return f"{low}-{high}" if len(values) > 1 else str(low)
