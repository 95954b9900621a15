"""Deliver the records of trials that ended while the MLflow server did not answer.

    python -m study.sync

They wait in the cache folder of the machine that trained. Repeating the command does no harm, and
any command that trains delivers them, too, before it begins.
"""

import os
import sys

from study import spool
from study.cli import Parser
from study.cli import run_command
from study.config import StudyError
from study.server import connect
from study.server import shown
from study.server import tracking_uri
from study.server import TrackingError


def sync() -> str:
    """Deliver what waits; says what was done.

    Raises:
        TrackingError: the server does not answer, or fails; nothing is lost.
        StudyError: a record was refused, or belongs to another server.
    """
    count = len(spool.waiting())
    if count == 0:
        return "nothing to deliver"
    # seconds: nobody trains meanwhile, and a server may take long to answer to a large model
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
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


def _left(count: int) -> str:
    return f"{_runs(count)} still to deliver, nothing is lost"


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


def main() -> None:
    """The command."""
    Parser(__doc__ or "", "study.sync").parse_args()
    print(sync())


if __name__ == "__main__":
    sys.exit(run_command(main))
