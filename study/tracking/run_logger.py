"""The record of one trial: everything it writes to its MLflow run while it trains.

A run is complete when its tag `finished` is `true`; that tag is written last. Points are never
written twice: a resumed run is asked first which it holds.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any
from typing import TYPE_CHECKING

from study.common.errors import TrackingError
from study.config import parse_value
from study.tracking import operations
from study.tracking.operations import Operation

if TYPE_CHECKING:
    from study.tracking.journal import Record
    from study.tracking.outbox import Outbox

EPOCH_METRICS = {"loss": "train_loss", "accuracy": "train_accuracy", "seconds": "epoch_seconds"}


@dataclass(frozen=True)
class RunLog:
    """One open MLflow run. Nothing here waits for the server.

    outbox: where all goes; files: a folder for what is to be uploaded, kept as long as needed;
    given: the params that the run had when it was opened; seen: the points, as (name, step).

    Each method raises a TrackingError if MLflow refused an earlier operation for good.
    """

    outbox: "Outbox | Record"
    files: Path
    given: Mapping[str, str] = field(default_factory=dict)
    seen: frozenset[tuple[str, int]] = frozenset()

    @property
    def run_id(self) -> str:
        """Of the run, at MLflow."""
        return self.outbox.run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Write params that are not there yet.

        `mlflow run` has already written those it was given, as they were typed.
        """
        for name in self.given.keys() & params.keys():
            if parse_value(name, self.given[name]) != params[name]:
                raise TrackingError(
                    f"run {self.run_id} has {name}={self.given[name]}: not this config"
                )
        new = {name: value for name, value in params.items() if name not in self.given}
        self._put(operations.params(new))

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Write tags in one call; a later value replaces an earlier."""
        self._put(operations.tags(tags))

    def log_metrics(self, figures: Mapping[str, float], step: int) -> None:
        """Write one step's points in one call, but for those that the run already holds."""
        new = {name: float(x) for name, x in figures.items() if (name, step) not in self.seen}
        if new:
            self._put(operations.metrics(new, int(time.time() * 1000), step))

    def log_epoch(self, epoch: Mapping[str, float]) -> None:
        """Write one epoch's figures at step `epoch`."""
        figures = {EPOCH_METRICS.get(k, k): v for k, v in epoch.items() if k != "epoch"}
        self.log_metrics(figures, int(epoch["epoch"]))

    def log_dataset(self, name: str, source: str, digest: str) -> None:
        """Record which images were used as the run's input."""
        self._put(Operation("dataset", {"name": name, "source": source, "digest": digest}))

    def new_folder(self) -> Path:
        """An empty folder to fill, and hand to `log_folder`."""
        return Path(tempfile.mkdtemp(dir=self.files))

    def log_folder(self, folder: Path) -> None:
        """Upload every file of a `new_folder`; a later file replaces one of its name."""
        self._put(Operation("files", folder=folder))

    def log_model(self, folder: Path) -> None:
        """Upload an MLflow model, as `study.serving.export` writes it into a folder `model`."""
        self._put(Operation("model", folder=folder))

    def _put(self, operation: Operation) -> None:
        self.outbox.check()
        self.outbox.put(operation)
