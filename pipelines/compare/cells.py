"""Place rows in a sweep by their values, and find the best on validation."""

import math
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipelines.compare.columns import format_learning_rate_short
from pipelines.compare.pairing import select_whole_seeds
from pipelines.runs.finished import FinishedRun
from study.config.sweep import Value


@dataclass(frozen=True)
class Cell:
    """A row's place in a sweep.

    values: of the swept fields, in the order of the sweep.
    """

    values: Mapping[str, Value]
    is_baseline: bool
    is_best: bool  # on validation

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


def find_best_on_validation(rows: Sequence[Sequence[FinishedRun]]) -> int | None:
    """Return the index of the row with the highest mean validation accuracy.

    The mean is over seeds and folds. Of equal rows, the first one counts. A cross-validation that
    lacks folds does not count, because others would be judged on other images.
    """
    means = [_average_validation(row) for row in rows]
    known_means = [mean for mean in means if not math.isnan(mean)]
    return means.index(max(known_means)) if known_means else None


def _average_validation(row: Sequence[FinishedRun]) -> float:
    runs = select_whole_seeds(row)
    values = [run.metrics.get("val_accuracy", math.nan) for run in runs]
    return fmean(values) if values else math.nan
