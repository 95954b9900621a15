"""Deliver the records of trials that ended while the MLflow server did not answer.

    python -m study.sync
    python -m study.sync --from records

They wait in the cache folder of the machine that trained. Repeating the command does no harm, and
any command that trains delivers them, too, before it begins. With --from it delivers what
`study.offline` trained: each finished record becomes a run, unless its config has one.
"""

import os
import sys
from pathlib import Path

from study.common.command import Parser
from study.common.command import run_command
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.settings import tracking_uri
from study.tracking import import_offline
from study.tracking import spool
from study.tracking.connection import connect
from study.tracking.connection import shown
from study.tracking.journal import held
from study.tracking.journal import is_finished
from study.tracking.journal import OPERATIONS
from study.tracking.journal import Record


def sync() -> str:
    """Deliver what waits; says what was done.

    Raises:
        TrackingError: the server does not answer, or fails; nothing is lost.
        StudyError: a record was refused, or belongs to another server.
    """
    count = len(spool.waiting())
    if count == 0:
        return "nothing to deliver"
    _be_patient()
    try:
        report = spool.deliver(connect())
    except TrackingError as error:
        problem = str(error).splitlines()[0]
        raise TrackingError(f"{problem}; {_left(count)}") from None
    done = f"{_runs(len(report.delivered))} delivered"
    for problem in report.waiting.values():
        raise TrackingError(f"{done}; {problem}; {_left(len(report.waiting))}")
    if report.refused:
        raise StudyError(f"{done}, {_runs(len(report.refused))} refused: see the lines above")
    if report.unknown:
        raise StudyError(
            f"{done}; MLflow at {shown(tracking_uri())} does not know "
            f"{_runs(len(report.unknown))}: set MLFLOW_TRACKING_URI to where they were begun"
        )
    return done


def sync_from(folder: Path) -> str:
    """Bring the finished records of a folder into MLflow; says what was done.

    Raises:
        TrackingError: the server does not answer, fails or refuses; nothing is lost.
        StudyError: there are no records, or another process is at it.
    """
    records = [Record(path.parent) for path in sorted(folder.glob(f"*/{OPERATIONS}"))]
    if not records:
        raise StudyError(f"no records in {folder}: name the folder that study.offline wrote to")
    _be_patient()
    finished = [record for record in records if is_finished(record)]
    with held(folder / "sync"):
        delivered = import_offline.bring(connect(), finished)
    done = f"{_runs(delivered)} delivered, {len(finished) - delivered} there already"
    unfinished = len(records) - len(finished)
    return done + f", {unfinished} not finished yet" * (unfinished > 0)


def _be_patient() -> None:
    # seconds: nobody trains meanwhile, and a server may take long to answer to a large model
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")


def _left(count: int) -> str:
    return f"{_runs(count)} still to deliver, nothing is lost"


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


def main() -> None:
    """The command."""
    parser = Parser(__doc__ or "", "study.sync")
    parser.add_argument("--from", metavar="DIR", dest="folder", help="what study.offline wrote")
    folder = parser.parse_args().folder
    print(sync() if folder is None else sync_from(Path(folder)))


if __name__ == "__main__":
    sys.exit(run_command(main))
