"""Keep records on this machine until MLflow accepts them.

These are the records that MLflow did not accept when their trials ended. A spool is a record (see
study/tracking/journal.py) in the cache folder, either complete or absent. It names no server.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from study.common.cache import cache_dir
from study.common.cache import exclusive_cache_lock
from study.common.errors import Pruned
from study.common.errors import shorten
from study.common.errors import TrackingError
from study.common.files import no_space_as_study_error
from study.common.files import sync_to_disk
from study.common.progress import Progress
from study.common.settings import server_patience
from study.tracking.failures import describe_error
from study.tracking.failures import is_login_refusal
from study.tracking.failures import is_retryable
from study.tracking.journal import Journal
from study.tracking.operations import now_ms
from study.tracking.operations import Operation
from study.tracking.outbox import Outbox
from study.tracking.writer import write_operation as deliver_operation

INTERRUPTED_PATIENCE = 3.0  # seconds to wait for the server after Ctrl-C, at most
MAX_WRITING_SECONDS = 86_400  # after which nobody can be writing a spool any more


@contextlib.contextmanager
def end_run_on_exit(outbox: Outbox) -> Iterator[None]:
    """End a run when the block is left, then deliver or spool its operations.

    The run ends as FINISHED, as KILLED if it was interrupted or pruned, or as FAILED after any
    other error. What the server does not accept in time is spooled.
    """
    seconds = server_patience()
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
        outbox.wait(seconds)
        outbox.check()
    except Pruned:
        status = "KILLED"
        raise
    except KeyboardInterrupt:
        seconds = min(seconds, INTERRUPTED_PATIENCE)
        # If the block is done, Ctrl-C only ends the waiting.
        status = "FINISHED" if status == "FINISHED" else "KILLED"
        raise
    except TrackingError:
        status = "FAILED"
        raise
    finally:
        outbox.append(Operation("end", {"status": status, "time": now_ms()}))
        _deliver_or_spool(outbox, seconds)


def _deliver_or_spool(outbox: Outbox, seconds: float) -> None:
    """Wait for an outbox's deliveries, then spool the operations that are left."""
    try:
        outbox.wait(seconds)
    finally:  # a further Ctrl-C only ends the waiting
        undelivered = outbox.stop()
        if undelivered:
            folder = save_spool(outbox.run_id, undelivered)
            problem = shorten(outbox.problem, 120)
            Progress().say(
                f"  MLflow does not answer ({problem}): run {outbox.run_id} waits in "
                f"{folder.parent}; deliver it with python -m study.sync"
            )


def save_spool(run_id: str, operations: Sequence[Operation]) -> Path:
    """Write a spool and return its folder.

    Raises:
        StudyError: there is no room for it.
    """
    root = cache_dir() / "spool"
    name = f"{time.time_ns()}-{run_id}"  # names sort in the order of writing
    unfinished = root / f"{name}.part"
    with no_space_as_study_error("the record that MLflow did not take", root):
        try:
            record = Journal(unfinished)
            for operation in operations:
                record.append(operation)
            spool = unfinished.rename(root / name)
            sync_to_disk(root)  # the training state is removed next
            return spool
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def list_spools() -> list[Path]:
    """Return the folders of this machine's spools, earliest first."""
    folders = [path for path in (cache_dir() / "spool").glob("*-*") if not path.suffix]
    return sorted(folders, key=lambda path: path.name)


def refused_folder() -> Path:
    """Return the folder for spools that MLflow refuses for good."""
    return cache_dir() / "spool" / "refused"


@dataclass
class DeliveryResult:
    """Results of delivering spools, by the ids of their runs.

    Attributes:
        delivered: arrived.
        refused: refused for good.
        unknown: not known to this server.
        waiting: still on this machine, with the reason.
    """

    delivered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)


def flush_spool(client: MlflowClient) -> DeliveryResult:
    """Deliver this machine's spools and remove each when it has arrived.

    The delivery may be killed and repeated. A spool that MLflow refuses for good is moved to
    `refused_folder`, and a printed line says so. A spool that belongs to another server, or fails
    for now, stays, and so do later ones of the same run.
    """
    result = DeliveryResult()
    root = cache_dir() / "spool"
    if not any(root.glob("*-*")):
        return result
    message = f"another process delivers the records in {root}: waiting for it to end"
    with exclusive_cache_lock(root / "delivery", message, wait=True):
        for leftover in _list_leftovers(root):
            shutil.rmtree(leftover)
        for folder in list_spools():
            _deliver_spool(client, folder, result)
    return result


def _list_leftovers(root: Path) -> list[Path]:
    """Return what a kill left of spools: delivered ones, and ones that were not written whole."""
    oldest = time.time_ns() - MAX_WRITING_SECONDS * 10**9
    parts = [path for path in root.glob("*.part") if int(path.name.split("-")[0]) < oldest]
    return [*root.glob("*.gone"), *parts]


def _deliver_spool(client: MlflowClient, folder: Path, result: DeliveryResult) -> None:
    """Deliver one spool and add what became of it to the result."""
    run_id = folder.name.split("-", 1)[1]
    if run_id in result.waiting:  # an earlier spool, which would overwrite this one later
        return
    try:
        if not _run_exists(client, run_id):
            result.unknown.append(run_id)
            return
        for operation in Journal(folder).operations:
            deliver_operation(client, run_id, operation)
    except Exception as error:
        if is_retryable(error) or is_login_refusal(error) or isinstance(error, OSError):
            result.waiting[run_id] = describe_error(error)
            return
        result.refused.append(run_id)
        refused_folder().mkdir(exist_ok=True)
        new_folder = folder.rename(refused_folder() / folder.name)
        Progress().say(
            f"MLflow refuses the record of run {run_id}: {describe_error(error)}; "
            f"kept in {new_folder}"
        )
    else:
        result.delivered.append(run_id)
        # Rename it first, so that a kill during the removal leaves no part to be delivered again.
        shutil.rmtree(folder.rename(folder.with_suffix(".gone")))


def _run_exists(client: MlflowClient, run_id: str) -> bool:
    """Return True if the server has a run with this id."""
    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True
