"""Place rows in a sweep by their values."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.compare.columns import format_learning_rate_short
from study.config.sweep import Value


@dataclass(frozen=True)
class SweepCell:
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
