"""Open the MLflow run that a trial writes to, and end it."""

import contextlib
import platform
import tempfile
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run
from mlflow.entities import RunTag
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from study.common.errors import Paused
from study.common.errors import Pruned
from study.common.settings import server_patience
from study.tracking import operations
from study.tracking.end_runs import kill_run
from study.tracking.experiments import experiment_id
from study.tracking.failures import describe_error
from study.tracking.failures import mlflow_errors_as_study_errors
from study.tracking.outbox import Outbox
from study.tracking.queries import find_runs
from study.tracking.queries import PAUSED_TAG
from study.tracking.queries import select_unfinished_runs
from study.tracking.run_logger import RunLog
from study.tracking.spool import end_run_on_exit
from study.tracking.system_metrics import monitor_system

GIT_TAGS = "mlflow.source.git."  # how the names begin


@dataclass(frozen=True)
class RunSpec:
    """A run's data set, name and parent, and the fingerprint that finds it again.

    The run itself is new, resumed, or the one that `mlflow run` opened.
    """

    dataset: str
    name: str
    fingerprint: str
    parent: str | None = None  # run id
    project_run: str | None = None  # id of the run that `mlflow run` opened for this trial


@contextlib.contextmanager
def open_run(
    client: MlflowClient,
    spec: RunSpec,
    *,
    resumable: bool,
    unfinished_runs: Sequence[Run] | None = None,
) -> Iterator[RunLog]:
    """Open a run to write to, measure its system metrics, and end it with the block.

    The run is that of `mlflow run`, the interrupted one, or a new one. It ends as FINISHED, as
    FAILED with the reason as a tag, or as KILLED. A killed run is resumed later, unless it was
    pruned, which is final: the tag `pruned` has the reason. The tag `paused` has the epoch after
    which the trial was asked to pause.

    Args:
        client: the MLflow client.
        spec: what the run shows.
        resumable: True if this machine has the training state of an interrupted run.
        unfinished_runs: those of the config. None looks them up.

    Raises:
        TrackingError: the server failed before there was a run, or refused what was written.
    """
    server_patience()  # raises for a wrong STUDY_PATIENCE now, before the run begins
    if unfinished_runs is None:
        unfinished_runs = select_unfinished_runs(find_runs(client, spec.fingerprint))
    run, seen = _open_or_create_run(client, spec, unfinished_runs, resumable)
    outbox = Outbox(client, run.info.run_id)
    with (
        tempfile.TemporaryDirectory() as files,
        end_run_on_exit(outbox),
        _tag_failure_reason(outbox),
        monitor_system(outbox, resumed=bool(run.data.metrics)),
    ):
        yield RunLog(outbox, Path(files), run.data.params, seen)


@contextlib.contextmanager
def _tag_failure_reason(outbox: Outbox) -> Iterator[None]:
    """Tag the run with the reason why its trial paused, was pruned or failed.

    An interrupted run gets no tag.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except Paused as error:
        outbox.append(operations.tags({PAUSED_TAG: str(error)}))
        raise
    except Pruned as error:
        outbox.append(operations.tags({"pruned": str(error)[:500], "given_up": "pruned"}))
        raise
    except BaseException as error:
        message = f"{type(error).__name__}: {describe_error(error)}"
        outbox.append(operations.tags({"given_up": message}))
        raise


@mlflow_errors_as_study_errors()
def _open_or_create_run(
    client: MlflowClient, spec: RunSpec, unfinished_runs: Sequence[Run], resumable: bool
) -> tuple[Run, frozenset[tuple[str, int]]]:
    """Return an existing run, set to RUNNING, or a new one.

    Returns:
        The run, and the points that it already has, as (name, step).
    """
    run_id = spec.project_run or _choose_resumable_run(unfinished_runs, resumable=resumable)
    _give_up_other_runs(client, unfinished_runs, run_id)
    tags = {"fingerprint": spec.fingerprint, "machine": platform.node()}
    if run_id is None:
        if spec.parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = spec.parent
        experiment = experiment_id(client, spec.dataset)
        new_run = client.create_run(experiment, tags=add_source_tags(tags), run_name=spec.name)
        return new_run, frozenset()
    client.update_run(run_id, "RUNNING", spec.name)
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    run = client.get_run(run_id)
    if PAUSED_TAG in run.data.tags:
        client.delete_tag(run_id, PAUSED_TAG)
    return run, _fetch_points(client, run)


def _choose_resumable_run(unfinished_runs: Sequence[Run], *, resumable: bool) -> str | None:
    """Return the id of the config's run to go on with, or None if there is none."""
    if unfinished_runs and (resumable or _is_blank(unfinished_runs[-1])):
        return str(unfinished_runs[-1].info.run_id)
    return None


def add_source_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return a new run's tags with those that MLflow adds, such as `mlflow.user`.

    MLflow's tags of the Git repository are left out. It may be somebody else's, of a folder above
    or of `GIT_DIR`, and its address may hold a password. `code_version` names this code's commit.
    """
    all_tags = resolve_tags(dict(tags))
    return {name: text for name, text in all_tags.items() if not name.startswith(GIT_TAGS)}


def _give_up_other_runs(
    client: MlflowClient, unfinished_runs: Sequence[Run], chosen_id: str | None
) -> None:
    """Give up all but one of the config's unfinished runs."""
    for run in unfinished_runs:
        if run.info.run_id != chosen_id:
            client.set_tag(run.info.run_id, "given_up", "trained in another run")
            kill_run(client, run.info.run_id)


def _is_blank(run: Run) -> bool:
    """Return True if an interrupted run holds nobody's training.

    A run that still counts as running may be in use on another machine. It is blank only if this
    machine began it.
    """
    is_of_this_machine = run.data.tags.get("machine") == platform.node()
    return not _list_trial_metrics(run) and (is_of_this_machine or run.info.status != "RUNNING")


def _list_trial_metrics(run: Run) -> list[str]:
    """Return the names of a run's metrics, without the system metrics."""
    return [name for name in run.data.metrics if not name.startswith("system/")]


def _fetch_points(client: MlflowClient, run: Run) -> frozenset[tuple[str, int]]:
    """Return a run's points, as (name, step), without those of system metrics."""
    histories = [
        (name, client.get_metric_history(run.info.run_id, name))
        for name in _list_trial_metrics(run)
    ]
    return frozenset((name, point.step) for name, points in histories for point in points)
