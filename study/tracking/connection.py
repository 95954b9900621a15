"""The MLflow server: its address, whether it answers, and which of its failures pass by waiting."""

import contextlib
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.exc import SQLAlchemyError

from study.common.cache import locked
from study.common.errors import TrackingError as TrackingError
from study.common.settings import tracking_uri

LONGEST_PAUSE = 15.0  # seconds between two attempts
# Answers that would be the same later: the run is gone, or MLflow does not take what was sent
REFUSALS = {
    *("BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "NOT_IMPLEMENTED"),
    *("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"),
}


def shown(text: str) -> str:
    """A URI, or a text with URIs in it, fit for messages: without user names and passwords."""
    text = re.sub(r"(\w://)[^/\s]*@", r"\1", text)
    return re.sub(r"((?:password|secret|token)=)[^&\s]*", r"\1...", text, flags=re.IGNORECASE)


def reason(error: BaseException) -> str:
    """The first line of an error, fit for messages."""
    first = (str(error).splitlines() or [""])[0] or type(error).__name__
    return shown(first)[:300]


def passes(error: Exception) -> bool:
    """Whether the same request may go well later, because it is the server that fails now.

    So do refused logins (401, 403): somebody may be changing the password while training.
    """
    if isinstance(error, MlflowException):
        return error.error_code not in REFUSALS
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return status >= 500 or status in (401, 403, 404, 408, 429)  # 404: a proxy's
    if isinstance(error, requests.RequestException | ConnectionError | TimeoutError):
        return True
    return not isinstance(error, OSError | ValueError | TypeError | LookupError | AttributeError)


@contextlib.contextmanager
def talking() -> Iterator[None]:
    """Turns a failure of the server in this block, or function, into a line.

    Raises:
        TrackingError: the server failed or refused.
    """
    try:
        yield
    except (MlflowException, requests.RequestException, SQLAlchemyError) as error:
        # without the cause: its text, with the address as it stands, would go into tracebacks
        raise TrackingError(f"MLflow at {shown(tracking_uri())} fails: {reason(error)}") from None


def connect() -> MlflowClient:
    """A client of the tracking server, after a look that it answers; makes the schema if need be.

    Raises:
        TrackingError: it does not answer, cannot be written, or is of another major version.
    """
    uri = tracking_uri()
    if re.match(r"file:|(?![a-z+]+:)", uri):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={uri} is a folder, which MLflow no longer writes to: use "
            "sqlite:///mlflow.db or a server's http:// address"
        )
    mlflow.set_tracking_uri(uri)
    _be_brief()
    try:
        with first_use(uri):
            client = MlflowClient()
            client.search_experiments(max_results=1)
    except Exception as error:  # whatever the store's driver raises
        if "error code 401" in str(error):
            raise TrackingError(
                f"MLflow at {shown(uri)} refuses the login: "
                "mend MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            ) from None
        raise TrackingError(
            f"no MLflow at {shown(uri)}: {reason(error)[:200]}\n"
            "Start it, mend MLFLOW_TRACKING_URI, or unset that to use mlflow.db in this folder."
        ) from None
    _check_version(uri)
    return client


@contextlib.contextmanager
def first_use(uri: str) -> Iterator[None]:
    """Hold an SQLite file against this user's other processes, while its tables may be made.

    Two that make them at once spoil them, be it MLflow or Optuna.

    Raises:
        StudyError: the cache folder cannot be written.
    """
    if not uri.startswith("sqlite:"):
        yield
        return
    path = str(Path(uri.removeprefix("sqlite:///")).absolute())
    with locked(f"tables-{hashlib.sha256(path.encode()).hexdigest()[:16]}"):
        yield


def wait_for_server(seconds: float) -> MlflowClient:
    """A client as soon as the server answers.

    Raises:
        TrackingError: it did not within that time.
    """
    end, pause = time.monotonic() + seconds, 1.0
    while True:
        try:
            return connect()
        except TrackingError:
            if time.monotonic() + pause > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _be_brief() -> None:
    """Have MLflow fail soon, for what is worth repeating is repeated here, and in silence."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")  # seconds
    # two lines at the end of each run, with the address as it stands, be there a password in it
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # SQLAlchemy logs a traceback where Ctrl-C comes within a query, besides raising it
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # a line for each retry
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _check_version(uri: str) -> None:
    if not uri.startswith("http"):
        return
    try:
        answer = http_request(get_default_host_creds(uri), "/version", "GET")
    except MlflowException:
        return  # a proxy may not let it through
    found = re.fullmatch(r"(\d+)\.\d+\S*", answer.text.strip())
    if answer.status_code == 200 and found and found[1] != mlflow.__version__.split(".")[0]:
        raise TrackingError(
            f"MLflow at {shown(uri)} is version {found[0]}, here it is {mlflow.__version__}: "
            "install the same major version on both sides"
        )
