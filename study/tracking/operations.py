"""Describe what is to be written to an open MLflow run, as single operations.

An operation may be delivered late, and more than once. A second delivery leaves the run as it was:
a metric point keeps the time at which it was measured, and MLflow treats points of equal name,
step, time and value as the same.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

KINDS = ("batch", "begin", "dataset", "files", "model", "end")


@dataclass(frozen=True)
class Operation:
    """One request to MLflow, or a few that belong together.

    Attributes:
        kind: one of `KINDS`. A `batch` has params, tags and metrics. A `begin` starts a record that
            has no run at MLflow yet.
        body: what to write, fit for JSON.
        folder: the files that belong to the operation.
    """

    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None


def now_ms() -> int:
    """Return the time in milliseconds since 1970, as MLflow counts it."""
    return int(time.time() * 1000)


def tags(values: Mapping[str, str]) -> Operation:
    """Return an operation that sets tags.

    A later value of a tag replaces an earlier one.
    """
    return Operation("batch", {"tags": dict(values)})


def params(values: Mapping[str, Any]) -> Operation:
    """Return an operation that writes params."""
    return Operation("batch", {"params": {name: str(value) for name, value in values.items()}})


def metrics(figures: Mapping[str, float], timestamp: int, step: int) -> Operation:
    """Return an operation that writes the metric points of one step.

    Args:
        figures: values by the names of their metrics.
        timestamp: when they were measured, in milliseconds since 1970.
        step: of all points.
    """
    points = [[name, value, timestamp, step] for name, value in figures.items()]
    return Operation("batch", {"metrics": points})
