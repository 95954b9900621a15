"""Deliver the records of trials that ended while the MLflow server did not answer.

    python -m study.sync
    python -m study.sync --from records

The records wait in the cache folder of the machine that trained. Repeating the command does no
harm, and every command that trains delivers them, too, before it begins. With --from, the command
delivers what `study.offline` trained: each finished record becomes a run, unless its config has
one.
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
    """Deliver the records that wait in the cache folder.

    Returns:
        A sentence on what was done.

    Raises:
        TrackingError: the server does not answer, or fails; no record is lost.
        StudyError: a record was refused, or belongs to another server.
    """
    count = len(spool.waiting())
    if count == 0:
        return "nothing to deliver"
    _lengthen_http_timeout()
    try:
        report = spool.deliver(connect())
    except TrackingError as error:
        problem = str(error).splitlines()[0]
        raise TrackingError(f"{problem}; {_format_left(count)}") from None
    summary = f"{_format_runs(len(report.delivered))} delivered"
    for problem in report.waiting.values():
        raise TrackingError(f"{summary}; {problem}; {_format_left(len(report.waiting))}")
    if report.refused:
        raise StudyError(
            f"{summary}, {_format_runs(len(report.refused))} refused: see the lines above"
        )
    if report.unknown:
        raise StudyError(
            f"{summary}; MLflow at {shown(tracking_uri())} does not know "
            f"{_format_runs(len(report.unknown))}: set MLFLOW_TRACKING_URI to where they were begun"
        )
    return summary


def sync_from(folder: Path) -> str:
    """Deliver the finished records of a folder that `study.offline` wrote to.

    Returns:
        A sentence on what was done.

    Raises:
        TrackingError: the server does not answer, fails or refuses; no record is lost.
        StudyError: there are no records, or another process is delivering them.
    """
    records = [Record(path.parent) for path in sorted(folder.glob(f"*/{OPERATIONS}"))]
    if not records:
        raise StudyError(f"no records in {folder}: name the folder that study.offline wrote to")
    _lengthen_http_timeout()
    finished = [record for record in records if is_finished(record)]
    with held(folder / "sync"):
        delivered = import_offline.bring(connect(), finished)
    summary = f"{_format_runs(delivered)} delivered, {len(finished) - delivered} there already"
    unfinished = len(records) - len(finished)
    return f"{summary}, {unfinished} not finished yet" if unfinished > 0 else summary


def _lengthen_http_timeout() -> None:
    # In seconds. No training waits for the answer, and a server may need long for a large model.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")


def _format_left(count: int) -> str:
    return f"{_format_runs(count)} still to deliver, nothing is lost"


def _format_runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def main() -> None:
    """Run the command."""
    parser = Parser(__doc__ or "", "study.sync")
    parser.add_argument("--from", metavar="DIR", dest="folder", help="what study.offline wrote")
    folder = parser.parse_args().folder
    print(sync() if folder is None else sync_from(Path(folder)))


if __name__ == "__main__":
    sys.exit(run_command(main))
