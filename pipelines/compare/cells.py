"""Place rows in a sweep by their values, and find the best on validation."""

import math
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.compare.columns import format_learning_rate_short
from pipelines.compare.pairing import select_whole_seeds
from pipelines.runs.finished_run import FinishedRun
from study.config.sweep import Value
from study.statistics.ties import find_highest


@dataclass(frozen=True)
class Cell:
    """A row's place in a sweep.

    values: of the swept fields, in the order of the sweep.
    is_best: whether it is the best on validation, or the first of several that tie for it.
    is_tied: whether it is one of several that tie for the best on validation.
    """

    values: Mapping[str, Value]
    is_baseline: bool
    is_best: bool
    is_tied: bool = False

    @property
    def label(self) -> str:
        """Return a short name, as the grid prints it: `lr=1e-4 head=gap`."""
        return " ".join(
            f"{name}={format_value(name, value)}" for name, value in self.values.items()
        )


def name_field(name: str) -> str:
    """Name a config field for readers: `dense units`."""
    return name.replace("_", " ")


def format_value(name: str, value: Value) -> str:
    """Format a swept value for readers, who see no folder of a weights file."""
    if name == "lr":
        return format_learning_rate_short(float(value))
    if name == "weights":
        return str(value).replace("\\", "/").rpartition("/")[-1]
    return f"{value:g}" if isinstance(value, float) else str(value)


def find_best_on_validation(rows: Sequence[Sequence[FinishedRun]]) -> list[int]:
    """Find the row with the highest mean validation accuracy.

    The mean is over seeds and folds. A cross-validation that lacks folds does not count, because
    others would be judged on other images.

    Returns:
        Its index, or those of several rows that tie, or none if no validation accuracy is known.
    """
    return find_highest([average_validation(row) for row in rows])


def average_validation(row: Sequence[FinishedRun]) -> float:
    """Return the mean validation accuracy of a row, 0 to 1, or NaN if it is not known."""
    runs = select_whole_seeds(row)
    values = [run.metrics.get("val_accuracy", math.nan) for run in runs]
    return fmean(values) if values else math.nan
