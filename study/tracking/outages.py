"""Wait for an MLflow server that does not answer, or is being restarted."""

import re
from collections.abc import Callable
from typing import TypeVar

from mlflow.tracking import MlflowClient

from study.common.backoff import retry_with_backoff
from study.common.errors import first_line
from study.common.errors import TrackingError
from study.common.errors import TrackingRefused
from study.common.progress import Progress
from study.common.settings import server_patience
from study.tracking import connection

LONGEST_PAUSE = 15.0  # seconds between two attempts
REFUSED_PATIENCE = 3.0  # seconds for an address at which nothing listens: it may be a wrong one
# What MLflow, a proxy before it or its database says while one of them is restarted
RESTARTING = re.compile(
    r"too many (429|5\d\d) error responses|error code (429|5\d\d)|Connection (aborted|reset)"
    r"|Remote end closed|database is locked|is (starting up|shutting down)"
)
T = TypeVar("T")


def wait_for_server(seconds: float) -> MlflowClient:
    """Return a client as soon as the server answers.

    Raises:
        TrackingError: the server did not answer within `seconds`.
        TrackingRefused: it answered, and refuses.
    """
    return retry_with_backoff(
        connection.connect,
        lambda error: isinstance(error, TrackingError) and not isinstance(error, TrackingRefused),
        seconds=seconds,
        first_pause=1.0,
        longest_pause=LONGEST_PAUSE,
    )


def retry_at_start(action: Callable[[], T], progress: Progress) -> T:
    """Run `action`, and again for a while if the server is restarted just now.

    A server that fails gets `STUDY_PATIENCE`, and an address at which nothing listens
    `REFUSED_PATIENCE` of it. A line says that it is waited for.

    Args:
        action: must bear repetition, as what only reads does.
        progress: prints the line.

    Raises:
        TrackingError: of the last attempt, or one that no restart explains.
    """
    try:
        return action()
    except TrackingError as error:
        seconds = _choose_start_patience(error)
        if seconds == 0:
            raise
        progress.say(f"{first_line(error)}; waiting for it, for {seconds:g} s at most")
    return retry_with_backoff(
        action,
        lambda error: isinstance(error, TrackingError) and _choose_start_patience(error) > 0,
        seconds=seconds,
        first_pause=0.5,
        longest_pause=LONGEST_PAUSE / 3,
    )


def _choose_start_patience(error: TrackingError) -> float:
    """Return for how many seconds to wait at the start of a command after an error."""
    if isinstance(error, TrackingRefused):
        return 0.0
    if RESTARTING.search(str(error)):
        return server_patience()
    is_refused = "Connection refused" in str(error)
    return min(server_patience(), REFUSED_PATIENCE) if is_refused else 0.0
