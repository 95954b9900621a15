"""Log everything that one trial writes to its MLflow run while it trains.

A run is complete when its tag `finished` is `true`. That tag is written last. Points are never
written twice: a run that is resumed is first asked which points it has.
"""

import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any
from typing import TYPE_CHECKING

from study.common.errors import TrackingError
from study.common.folder_names import is_folder_name
from study.config.trial_config import parse_value
from study.tracking import operations
from study.tracking.operations import now_ms
from study.tracking.operations import Operation

if TYPE_CHECKING:
    from study.tracking.journal import Journal
    from study.tracking.outbox import Outbox

EPOCH_METRICS = {"loss": "train_loss", "accuracy": "train_accuracy", "seconds": "epoch_seconds"}


@dataclass(frozen=True)
class RunLog:
    """One open MLflow run, written to without waiting for the server.

    Each method that logs raises a TrackingError if MLflow refused an earlier operation for good.

    Attributes:
        outbox: takes all operations.
        files: a folder for files to upload, kept as long as needed.
        given: the params that the run had when it was opened.
        seen: the points that it had then, as (name, step).
    """

    outbox: "Outbox | Journal"
    files: Path
    given: Mapping[str, str] = field(default_factory=dict)
    seen: frozenset[tuple[str, int]] = frozenset()

    @property
    def run_id(self) -> str:
        """Return the run's id at MLflow."""
        return self.outbox.run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Write the params that the run does not have yet.

        `mlflow run` has already written the params on its command line, as they were typed.

        Raises:
            TrackingError: a param of the run has another value.
        """
        for name in self.given.keys() & params.keys():
            if not has_param_value(name, self.given[name], params):
                raise TrackingError(
                    f"run {self.run_id} has {name}={self.given[name]}, so it belongs to another "
                    "config"
                )
        new = {name: value for name, value in params.items() if name not in self.given}
        self._append(operations.params(new))

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Write tags in one call.

        A later value of a tag replaces an earlier one.
        """
        self._append(operations.tags(tags))

    def log_metrics(self, figures: Mapping[str, float], step: int) -> None:
        """Write one step's points in one call, except those that the run already has."""
        new = {
            name: float(value) for name, value in figures.items() if (name, step) not in self.seen
        }
        if new:
            self._append(operations.metrics(new, now_ms(), step))

    def log_epoch(self, epoch: Mapping[str, float]) -> None:
        """Write one epoch's figures at step `epoch`."""
        figures = {
            EPOCH_METRICS.get(name, name): value for name, value in epoch.items() if name != "epoch"
        }
        self.log_metrics(figures, int(epoch["epoch"]))

    def log_dataset(self, name: str, source: str, digest: str) -> None:
        """Log which images are the run's input."""
        self._append(Operation("dataset", {"name": name, "source": source, "digest": digest}))

    def new_folder(self) -> Path:
        """Create an empty folder, to be filled and handed to `log_folder`."""
        return Path(tempfile.mkdtemp(dir=self.files))

    def log_folder(self, folder: Path) -> None:
        """Upload every file of a folder from `new_folder`.

        A later file replaces an earlier one of the same name.
        """
        self._append(Operation("files", folder=folder))

    def log_model(self, folder: Path) -> None:
        """Upload an MLflow model from the folder that `study.serving.export` wrote it to.

        That folder is named `model`.
        """
        self._append(Operation("model", folder=folder))

    def _append(self, operation: Operation) -> None:
        """Hand an operation to the outbox, unless MLflow refused an earlier one."""
        self.outbox.check()
        self.outbox.append(operation)


def strip_shell_quotes(text: str) -> str:
    """Return a param without the quotes in which `mlflow run` logs it.

    `folder:/my cells` is logged as `'folder:/my cells'`. A param without such quotes stays.
    """
    try:
        words = shlex.split(text)
    except ValueError:  # an apostrophe of its own
        return text
    return words[0] if len(words) == 1 and shlex.quote(words[0]) == text else text


def has_param_value(name: str, text: str, values: Mapping[str, Any]) -> bool:
    """Return True if a param's text, as `mlflow run` logs it, is the value of `name`.

    Two paths of a folder count as the same: one folder may be typed in many ways, and the digest of
    its images tells whether they differ.
    """
    value = parse_value(name, strip_shell_quotes(text))
    if name == "dataset" and is_folder_name(str(value)):
        return is_folder_name(str(values[name]))
    return bool(value == values[name])
