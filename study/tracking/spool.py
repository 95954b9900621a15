"""Records that MLflow could not take when their trials ended, kept on this machine until it does.

A spool is a record (see study/tracking/journal.py) in the cache folder, whole or absent. It names
no server and holds no address.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import filelock
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from study.common.cache import cache_dir
from study.common.errors import Pruned
from study.common.errors import TrackingError
from study.common.files import room_for
from study.common.progress import Progress
from study.common.settings import patience
from study.tracking.connection import passes
from study.tracking.connection import reason
from study.tracking.journal import Record
from study.tracking.operations import Operation
from study.tracking.outbox import Outbox
from study.tracking.writer import deliver as deliver_operation

INTERRUPTED_PATIENCE = 3.0  # the same after Ctrl-C


@contextlib.contextmanager
def ends(outbox: Outbox) -> Iterator[None]:
    """Ends a run by how the block is left, then waits for the deliveries, or spools them.

    FINISHED, KILLED if it was interrupted or pruned, FAILED after any other error.
    """
    seconds, status = patience(), "FAILED"
    try:
        yield
        status = "FINISHED"
        outbox.wait(seconds)
        outbox.check()
    except Pruned:
        status = "KILLED"
        raise
    except KeyboardInterrupt:  # unless all is done, and it ends the waiting alone
        seconds = min(seconds, INTERRUPTED_PATIENCE)
        status = "FINISHED" if status == "FINISHED" else "KILLED"
        raise
    except TrackingError:
        status = "FAILED"
        raise
    finally:
        outbox.put(Operation("end", {"status": status, "time": int(time.time() * 1000)}))
        _close(outbox, seconds)


def _close(outbox: Outbox, seconds: float) -> None:
    try:
        outbox.wait(seconds)
    finally:  # a further Ctrl-C ends the waiting alone
        left = outbox.stop()
        if left:
            folder = save(outbox.run_id, left)
            Progress().say(
                f"  MLflow does not answer ({outbox.problem[:120]}): run {outbox.run_id} waits in "
                f"{folder.parent}; deliver it with python -m study.sync"
            )


def save(run_id: str, operations: Sequence[Operation]) -> Path:
    """Write a spool; its folder.

    Raises:
        StudyError: there is no room for it.
    """
    root = cache_dir() / "spool"
    name = f"{time.time_ns()}-{run_id}"  # in the order of writing
    unfinished = root / f"{name}.part"
    with room_for("the record that MLflow did not take", root):
        try:
            record = Record(unfinished)
            for operation in operations:
                record.put(operation)
            return unfinished.rename(root / name)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def waiting() -> list[Path]:
    """The spools of this machine, earliest first."""
    found = [path for path in (cache_dir() / "spool").glob("*-*") if not path.suffix]
    return sorted(found, key=lambda path: path.name)


def refused_folder() -> Path:
    """Where those are put that MLflow refuses for good."""
    return cache_dir() / "spool" / "refused"


@dataclass
class Report:
    """What came of the spools, by the ids of their runs.

    delivered; refused for good; unknown to this server; waiting, with the reason.
    """

    delivered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)


def deliver(client: MlflowClient) -> Report:
    """Deliver this machine's spools, and remove each when it has arrived.

    It may be killed and repeated. What MLflow refuses for good is put aside, with a line that says
    so; what belongs to another server, or fails for now, stays.
    """
    report = Report()
    if not waiting():
        return report
    root = cache_dir() / "spool"
    with filelock.FileLock(root / ".lock"):  # another process may be at it
        for gone in root.glob("*.gone"):  # delivered, but killed while it was removed
            shutil.rmtree(gone)
        for folder in waiting():
            _deliver(client, folder, report)
    return report


def _deliver(client: MlflowClient, folder: Path, report: Report) -> None:
    run_id = folder.name.split("-", 1)[1]
    try:
        if not _knows(client, run_id):
            report.unknown.append(run_id)
            return
        for operation in Record(folder).operations:
            deliver_operation(client, run_id, operation)
    except Exception as error:
        if passes(error) or isinstance(error, OSError):
            report.waiting[run_id] = reason(error)
            return
        report.refused.append(run_id)
        refused_folder().mkdir(exist_ok=True)
        kept = folder.rename(refused_folder() / folder.name)
        Progress().say(
            f"MLflow refuses the record of run {run_id}: {reason(error)}; kept in {kept}"
        )
    else:
        report.delivered.append(run_id)
        # renamed first, so that a kill leaves no half of it to be delivered again
        shutil.rmtree(folder.rename(folder.with_suffix(".gone")))


def _knows(client: MlflowClient, run_id: str) -> bool:
    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True
