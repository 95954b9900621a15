"""Read a data set's sweeps from their parent runs, and select the runs of one."""

import dataclasses
import itertools
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.protocol import AVERAGED
from pipelines.runs.protocol import protocol
from pipelines.runs.read_runs import find_experiment_ids
from study.common.errors import ConfigError
from study.common.folder_names import is_folder_name
from study.common.paths import resolve_folder
from study.config.sweep import Sweep
from study.config.sweep import SWEEP_TAG
from study.config.sweep import Value
from study.config.trial_config import parse_value
from study.config.trial_config import TrialConfig
from study.tracking.connection import connect
from study.tracking.queries import search_runs
from study.tracking.run_logger import strip_shell_quotes

# What a protocol says of a run beside its config
ORIGINS = ("weights", "weights_file", "weights_digest", "data_digest", "protocol_version")
Values = tuple[Value, ...]  # of a sweep's fields, in their order


@dataclass(frozen=True)
class LoggedSweep:
    """A sweep, with what its parent run says of all its trials."""

    parent: str  # run ID
    sweep: Sweep
    shared: Mapping[str, Any]  # the fields that the trials have in common

    @property
    def cells(self) -> list[Values]:
        """Return the values of each cell, in the order of the sweep's values."""
        return list(itertools.product(*self.sweep.fields.values()))

    def find_cell(self, run: FinishedRun) -> Values | None:
        """Return the cell that a run belongs to, whoever trained it, or None."""
        if not all(_has_value(run, name, value) for name, value in self.shared.items()):
            return None
        return next((cell for cell in self.cells if self._is_in(run, cell)), None)

    def _is_in(self, run: FinishedRun, cell: Values) -> bool:
        fields = zip(self.sweep.fields, cell, strict=True)
        return all(_has_value(run, name, value) for name, value in fields)


def read_sweeps(runs: Sequence[FinishedRun], experiment: str | None = None) -> list[LoggedSweep]:
    """Read the sweeps of the data set of some runs, the earliest first.

    A sweep of the same folder under another path is among them if one of the runs was trained in
    it.

    Args:
        runs: of one data set.
        experiment: the name of the only experiment to look through, or None for all of them.

    Raises:
        TrackingError: MLflow cannot be read, or has no such experiment.
    """
    client = connect()
    parents = {run.parent for run in runs}
    dataset = runs[0].config.dataset
    experiment_ids = find_experiment_ids(client, experiment)
    own_runs = [
        run
        for run in search_runs(client, f"tags.{SWEEP_TAG} LIKE '{{%'")
        if run.info.experiment_id in experiment_ids
        and (run.info.run_id in parents or _is_of(run, dataset))
    ]
    return [sweep for run in own_runs if (sweep := _parse_or_warn(run)) is not None]


def group_cells(
    logged: LoggedSweep, runs: Sequence[FinishedRun]
) -> list[dict[Values, list[FinishedRun]]]:
    """Group the runs of a sweep by cell, in the order of its values.

    Returns:
        One group for each state of the data, the weights and the code that the sweep was trained
        with, which is one as a rule. Runs of other states are left out, unless the sweep trained
        nothing itself. A pooled split ignores the groups of the images, so where splits are swept,
        a pooled run belongs to every state of the groups.
    """
    cells = [(run, cell) for run in runs if (cell := logged.find_cell(run)) is not None]
    cell_runs = [run for run, _ in cells]
    own_runs = [run for run in cell_runs if run.parent == logged.parent]
    digests = _find_group_digests(logged, cell_runs) | _find_group_digests(logged, own_runs)
    own_origins = {origin for run in own_runs for origin in _list_origins(logged, run, digests)}
    by_origin: dict[Values, dict[Values, list[FinishedRun]]] = {}
    for cell in logged.cells:
        for run in (run for run, cell_of_run in cells if cell_of_run == cell):
            for origin in _list_origins(logged, run, digests):
                if origin in (own_origins or {origin}):
                    by_origin.setdefault(origin, {}).setdefault(cell, []).append(run)
    return [by_origin[origin] for origin in sorted(by_origin)]


def _find_group_digests(logged: LoggedSweep, runs: Sequence[FinishedRun]) -> dict[str, set[str]]:
    """Find the digests with groups of some runs, by the digest of their images alone.

    Returns:
        None of them where the split is not swept: all runs of a sweep then have the same digest.
    """
    digests: dict[str, set[str]] = {}
    for run in runs if "split" in logged.sweep.fields else []:
        if run.config.split != "pooled":
            digests.setdefault(run.name_digest, set()).add(run.data_digest)
    return digests


def _list_origins(
    logged: LoggedSweep, run: FinishedRun, group_digests: Mapping[str, set[str]]
) -> list[Values]:
    """List what must be equal in all runs of a table, beside their configs.

    There are several for a pooled run beside runs with several states of the groups.
    """
    fields = protocol(run)
    is_swept = "weights" in logged.sweep.fields
    names = [name for name in ORIGINS if not (is_swept and name.startswith("weights"))]
    digests = {run.data_digest}
    if run.config.split == "pooled":
        digests = group_digests.get(run.name_digest, digests)
    return [
        tuple(str((fields | {"data_digest": digest})[name]) for name in names)
        for digest in sorted(digests)
    ]


def _has_value(run: FinishedRun, name: str, value: Value) -> bool:
    """Return whether a run has this value of a config field."""
    if name != "weights" or value == "none":
        return bool(getattr(run.config, name) == value)
    # The file that a run started from is known by its name. A file with the published weights is
    # the same start as Keras' download of them.
    if value == "imagenet":
        return run.weights_kind == "imagenet"
    return run.weights_kind != "none" and run.weights_file in ("", Path(str(value)).name)


def _is_of(run: Run, dataset: str) -> bool:
    """Return whether a parent run names this data set."""
    name = strip_shell_quotes(run.data.params.get("dataset", ""))
    if is_folder_name(dataset) and is_folder_name(name):
        return resolve_folder(name) == resolve_folder(dataset)
    return name == dataset


def _parse_or_warn(run: Run) -> LoggedSweep | None:
    """Parse a sweep's parent run, or print a warning and return None."""
    params = run.data.params
    known = {spec.name for spec in dataclasses.fields(TrialConfig)}
    try:
        sweep = Sweep.from_json(run.data.tags[SWEEP_TAG])
        names = known & params.keys() - {*sweep.fields, *AVERAGED, "dataset"}
        shared = {name: parse_value(name, strip_shell_quotes(params[name])) for name in names}
        is_known = sweep.baseline.keys() == sweep.fields.keys() <= known
    except (ConfigError, ValueError):
        is_known = False
    if is_known:
        return LoggedSweep(run.info.run_id, sweep, shared)
    print(
        f"warning: run {run.info.run_id} has no table of its sweep: its tag {SWEEP_TAG} or a param "
        "is not one of this version",
        file=sys.stderr,
    )
    return None
