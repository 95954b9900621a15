"""Which MLflow run a trial writes to, and how that run ends."""

import contextlib
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run
from mlflow.entities import RunTag
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from study.common.errors import Paused
from study.common.errors import Pruned
from study.common.settings import patience
from study.tracking import operations
from study.tracking.connection import reason
from study.tracking.connection import talking
from study.tracking.outbox import Outbox
from study.tracking.queries import experiment_id
from study.tracking.queries import find_begun
from study.tracking.queries import PAUSED
from study.tracking.run_logger import RunLog
from study.tracking.spool import ends
from study.tracking.system_metrics import monitored


@dataclass(frozen=True)
class Place:
    """Where a run belongs and how it is found again."""

    dataset: str
    name: str
    fingerprint: str
    parent: str | None = None  # run id


@contextlib.contextmanager
def open_run(client: MlflowClient, place: Place, *, resumable: bool) -> Iterator[RunLog]:
    """A run to write to, with system metrics: the interrupted one, `mlflow run`'s, or a new one.

    It ends FINISHED, FAILED with the reason as a tag, or KILLED, in which case it is resumed later
    unless it was pruned: that is for good, and the tag `pruned` says why. The tag `paused` says
    after which epoch one was asked to wait for that.

    Args:
        client: of the server.
        place: of the run.
        resumable: whether this machine has the training state of an interrupted run.

    Raises:
        TrackingError: the server failed before there was a run, or refused what was written.
    """
    patience()  # said before the run begins if it is wrong
    run, seen = _opened(client, place, resumable)
    outbox = Outbox(client, run.info.run_id)
    with (
        tempfile.TemporaryDirectory() as files,
        ends(outbox),
        _explained(outbox),
        monitored(outbox, resumed=bool(run.data.metrics)),
    ):
        yield RunLog(outbox, Path(files), run.data.params, seen)


@contextlib.contextmanager
def _explained(outbox: Outbox) -> Iterator[None]:
    """Tags a run that nobody goes on with by the reason."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except Paused as error:
        outbox.put(operations.tags({PAUSED: str(error)}))
        raise
    except Pruned as error:
        outbox.put(operations.tags({"pruned": str(error)[:500], "given_up": "pruned"}))
        raise
    except BaseException as error:
        told = f"{type(error).__name__}: {reason(error)}"
        outbox.put(operations.tags({"given_up": told}))
        raise


@talking()
def _opened(
    client: MlflowClient, place: Place, resumable: bool
) -> tuple[Run, frozenset[tuple[str, int]]]:
    """The run as it was found, or made, and its points."""
    run_id = _run_to_use(client, place, resumable)
    tags = {"fingerprint": place.fingerprint, "machine": platform.node()}
    if run_id is None:
        if place.parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = place.parent
        experiment = experiment_id(client, place.dataset)
        made = client.create_run(experiment, tags=resolve_tags(tags), run_name=place.name)
        return made, frozenset()
    client.update_run(run_id, "RUNNING", place.name)
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    run = client.get_run(run_id)
    if PAUSED in run.data.tags:
        client.delete_tag(run_id, PAUSED)
    return run, _points_of(client, run)


def _run_to_use(client: MlflowClient, place: Place, resumable: bool) -> str | None:
    opened = os.environ.pop("MLFLOW_RUN_ID", None)  # by `mlflow run`
    begun = find_begun(client, place.fingerprint)
    last = begun[-1] if begun and (resumable or _is_blank(begun[-1])) else None
    keep = opened or (last.info.run_id if last else None)
    for run in begun:
        if run.info.run_id != keep:
            client.set_tag(run.info.run_id, "given_up", "trained in another run")
            client.set_terminated(run.info.run_id, "KILLED")
    return keep


def _is_blank(run: Run) -> bool:
    """Whether nobody's training is in an interrupted run.

    One that still counts as running may be somebody's on another machine.
    """
    ours = run.data.tags.get("machine") == platform.node()
    return not _names(run) and (ours or run.info.status != "RUNNING")


def _names(run: Run) -> list[str]:
    return [name for name in run.data.metrics if not name.startswith("system/")]


def _points_of(client: MlflowClient, run: Run) -> frozenset[tuple[str, int]]:
    history = [(n, client.get_metric_history(run.info.run_id, n)) for n in _names(run)]
    return frozenset((name, point.step) for name, points in history for point in points)
