"""Open and close the MLflow run above a study's trials, also after a crash."""

import contextlib
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Param
from mlflow.entities import Run
from mlflow.entities import RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from study.common.version import code_version
from study.config.sweep import Sweep
from study.config.sweep import SWEEP_TAG
from study.tracking import ui_links
from study.tracking.end_runs import kill_run
from study.tracking.experiments import experiment_id
from study.tracking.failures import mlflow_errors_as_study_errors
from study.tracking.operations import Operation
from study.tracking.outbox import Outbox
from study.tracking.queries import search_runs_by_tags
from study.tracking.spool import end_run_on_exit
from study.tracking.spool import flush_spool


@dataclass(frozen=True)
class StudySpec:
    """A study's data set, its name in Optuna, and what its parent run shows."""

    dataset: str
    name: str  # the tag `study` of the parent run
    title: str  # the parent run's name
    params: Mapping[str, Any]  # that all trials have in common
    sweep: Sweep | None = None  # None for the seven variants and for a search


class StudyRun:
    """The parent run of a study, while this process works on the study."""

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self.run = run
        self.outbox = Outbox(client, run.info.run_id)

    @property
    def id(self) -> str:
        """Return the run's id."""
        return str(self.run.info.run_id)

    def write(self, operations: Iterable[Operation]) -> None:
        """Write operations to the run.

        If the server does not answer, they wait on this machine as the records of trials do.
        """
        for operation in operations:
            self.outbox.append(operation)


def open_parent_run(client: MlflowClient, spec: StudySpec) -> Run:
    """Deliver the spools, in which the run's last end may wait, then do as `start_parent_run`."""
    flush_spool(client)
    return start_parent_run(client, spec)


@mlflow_errors_as_study_errors()
def start_parent_run(client: MlflowClient, spec: StudySpec) -> Run:
    """Find or create a study's parent run and set it to RUNNING.

    Hold a lock: two processes that call this at the same time may create two runs.
    """
    run = find_parent_run(client, spec.name)
    if run is not None:
        client.update_run(run.info.run_id, status="RUNNING")
    else:
        tags = {"study": spec.name, "dataset": spec.dataset, "code_version": code_version()}
        experiment = experiment_id(client, spec.dataset)
        run = client.create_run(experiment, tags=tags, run_name=spec.title)
    known_params = run.data.params
    new_params = [
        Param(name, str(value)) for name, value in spec.params.items() if name not in known_params
    ]
    sweep = extend_sweep(run, spec.sweep)
    sweep_tags = [] if sweep is None else [RunTag(SWEEP_TAG, sweep.to_json())]
    client.log_batch(run.info.run_id, params=new_params, tags=sweep_tags)
    client.set_experiment_tag(
        run.info.experiment_id, ui_links.VIEW_TAG, ui_links.build_view_state()
    )
    return run


def find_parent_run(client: MlflowClient, study: str) -> Run | None:
    """Return the first parent run of a study, or None."""
    return next(iter(search_runs_by_tags(client, {"study": study})), None)


def extend_sweep(run: Run, sweep: Sweep | None) -> Sweep | None:
    """Return the sweep of a parent run with the values that `sweep` adds.

    A tag that somebody has made unreadable counts as none.
    """
    if sweep is None or SWEEP_TAG not in run.data.tags:
        return sweep
    try:
        return Sweep.from_json(run.data.tags[SWEEP_TAG]).extend(sweep)
    except ValueError:
        return sweep


@contextlib.contextmanager
def closing_parent_run(client: MlflowClient, run: Run) -> Iterator[StudyRun]:
    """End a parent run as FINISHED, KILLED or FAILED when the block is left.

    KILLED means that the block was interrupted, FAILED that it raised another error.
    """
    study_run = StudyRun(client, run)
    with end_run_on_exit(study_run.outbox):
        yield study_run


def kill_orphaned_runs(
    client: MlflowClient, parent: str, alive: Collection[str], ended: Collection[str] = ()
) -> int:
    """Set the orphaned runs under a parent to KILLED.

    A run is orphaned if it counts as running, although it is not complete and nobody trains it.
    The killed runs stay resumable. A confirming run is spared, because its claim is in a study of
    its own. It goes on or is given up when its config is claimed again.

    Args:
        client: the MLflow client.
        parent: the parent's run id.
        alive: the fingerprints of the configs in training.
        ended: the ids of runs that ended, though their end may still wait on another machine.

    Returns:
        The number of killed runs.
    """
    running = "attributes.status = 'RUNNING'"
    orphaned_runs = [
        run
        for run in search_runs_by_tags(client, {MLFLOW_PARENT_RUN_ID: parent}, running)
        if "finished" not in run.data.tags
        and run.data.tags.get("role") != "confirm"
        and run.data.tags.get("fingerprint") not in alive
        and run.info.run_id not in ended
    ]
    for run in orphaned_runs:
        kill_run(client, run.info.run_id)
    return len(orphaned_runs)


def is_complete(client: MlflowClient, spec: StudySpec) -> bool:
    """Return whether a parent run of a study ended well and knows the whole sweep."""
    for run in search_runs_by_tags(client, {"study": spec.name}):
        sweep = extend_sweep(run, spec.sweep)
        is_known = sweep is None or run.data.tags.get(SWEEP_TAG) == sweep.to_json()
        if run.info.status == "FINISHED" and is_known:
            return True
    return False
