"""What is written to an open MLflow run, in pieces that may be delivered late, and twice.

Delivered again, each leaves the run as it was: a metric point keeps the time at which it was
measured, and MLflow takes a point of equal name, step, time and value for the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Operation:
    """One request, or a few, to MLflow.

    kind: `batch` (params, tags, metrics), `dataset`, `files`, `model` or `end`; in a record that
    MLflow knows no run of, a `begin` comes first;
    body: what to write, fit for JSON; folder: the files that belong to it.
    """

    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None


def tags(values: Mapping[str, str]) -> Operation:
    """Set tags; a later value replaces an earlier."""
    return Operation("batch", {"tags": dict(values)})


def params(values: Mapping[str, Any]) -> Operation:
    """Write params."""
    return Operation("batch", {"params": {name: str(value) for name, value in values.items()}})


def metrics(figures: Mapping[str, float], timestamp: int, step: int) -> Operation:
    """Write one step's points, measured at `timestamp` (milliseconds since 1970)."""
    points = [[name, value, timestamp, step] for name, value in figures.items()]
    return Operation("batch", {"metrics": points})
