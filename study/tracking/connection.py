"""Connect to the MLflow server and tell its passing failures from lasting ones."""

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
from sqlalchemy import create_engine
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from study.common.cache import cache_lock
from study.common.errors import DataError
from study.common.errors import TrackingError as TrackingError
from study.common.settings import tracking_uri
from study.tracking.moved_artifacts import check_artifact_paths

LONGEST_PAUSE = 15.0  # seconds between two attempts
# Error codes that a later attempt would get again: the run is gone, or MLflow does not accept what
# was sent.
REFUSALS = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "NOT_IMPLEMENTED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}


def redact_credentials(text: str) -> str:
    """Return a text without user names, passwords and tokens, fit for messages.

    The text is a URI or has URIs in it.
    """
    text = re.sub(r"(\w://)[^/\s]*@", r"\1", text)
    return re.sub(r"((?:password|secret|token)=)[^&\s]*", r"\1...", text, flags=re.IGNORECASE)


def describe_error(error: BaseException) -> str:
    """Return the first line of an error's text, fit for messages.

    It has no credentials and at most 300 characters. An error without a text gives its class name.
    """
    first_line = (str(error).splitlines() or [""])[0] or type(error).__name__
    return redact_credentials(first_line)[:300]


def is_retryable(error: Exception) -> bool:
    """Return True if the same request may succeed later.

    That is so if the server fails now, and not if the request is wrong. A refused login (401, 403)
    gives True as well: somebody may be changing the password while training.
    """
    if isinstance(error, MlflowException):
        return error.error_code not in REFUSALS
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        # A 404 of this kind comes from a proxy.
        return status >= 500 or status in (401, 403, 404, 408, 429)
    if isinstance(error, requests.RequestException | ConnectionError | TimeoutError):
        return True
    return not isinstance(error, OSError | ValueError | TypeError | LookupError | AttributeError)


@contextlib.contextmanager
def mlflow_errors_as_study_errors() -> Iterator[None]:
    """Turn a failure of the server into an error of one line.

    Used as a context manager or as the decorator of a function.

    Raises:
        TrackingError: the server failed or refused.
    """
    try:
        yield
    except (MlflowException, requests.RequestException, SQLAlchemyError) as error:
        # Drop the cause: its text has the unredacted address, which would go into tracebacks.
        raise TrackingError(
            f"MLflow at {redact_credentials(tracking_uri())} fails: {describe_error(error)}"
        ) from None


def connect() -> MlflowClient:
    """Return a client of the tracking server, after checking that the server answers.

    Creates the database schema if there is none.

    Raises:
        TrackingError: the server does not answer, cannot be written, or is of another major
            version, or its PostgreSQL database is not in UTF-8.
        DataError: the cache folder cannot be written.
        StudyError: the database was moved or copied with the files of its runs.
    """
    uri = tracking_uri()
    if re.match(r"file:|(?![a-z+]+:)", uri):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={uri} is a folder, which MLflow no longer writes to: use "
            "sqlite:///mlflow.db or a server's http:// address"
        )
    mlflow.set_tracking_uri(uri)
    _configure_client()
    try:
        require_utf8(uri)  # before MLflow makes its tables
        with schema_lock(uri):
            client = MlflowClient()
            client.search_experiments(max_results=1)
    except (DataError, TrackingError):  # the former is from the lock, in the cache folder
        raise
    except Exception as error:  # the store's driver may raise anything
        if "error code 401" in str(error):
            raise TrackingError(
                f"MLflow at {redact_credentials(uri)} refuses the login: "
                "mend MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            ) from None
        raise TrackingError(
            f"no MLflow at {redact_credentials(uri)}: {describe_error(error)[:200]}\n"
            "Start it, mend MLFLOW_TRACKING_URI, or unset that to use mlflow.db in this folder."
        ) from None
    _check_version(uri)
    check_artifact_paths(uri)
    return client


def require_utf8(uri: str) -> None:
    """Check that a PostgreSQL database stores text in UTF-8, which the names of runs need.

    Any other address passes.

    Raises:
        TrackingError: it has another encoding.
    """
    if not uri.startswith("postgresql"):
        return
    with create_engine(uri, poolclass=NullPool).connect() as connection:
        encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise TrackingError(
            f"the database at {redact_credentials(uri)} is encoded in {encoding}, but the names of "
            'runs need UTF8: see docs/cluster.md, "A database in another encoding"'
        )


@contextlib.contextmanager
def schema_lock(uri: str) -> Iterator[None]:
    """Lock an SQLite file while its tables may be created.

    The lock keeps out this user's other processes. Two processes that create the tables at the
    same time corrupt them, be it MLflow's tables or Optuna's. Other databases are not locked.

    Raises:
        StudyError: the cache folder cannot be written.
    """
    if not uri.startswith("sqlite:"):
        yield
        return
    path = str(Path(uri.removeprefix("sqlite:///")).absolute())
    with cache_lock(f"tables-{hashlib.sha256(path.encode()).hexdigest()[:16]}"):
        yield


def wait_for_server(seconds: float) -> MlflowClient:
    """Return a client as soon as the server answers.

    Raises:
        TrackingError: the server did not answer within `seconds`.
    """
    end = time.monotonic() + seconds
    pause = 1.0
    while True:
        try:
            return connect()
        except TrackingError:
            if time.monotonic() + pause > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _configure_client() -> None:
    """Make MLflow fail soon and quietly.

    This package itself repeats the requests that are worth repeating.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")  # seconds
    # Else MLflow prints two lines at the end of each run, with the unredacted address: a password
    # in it would be shown.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # SQLAlchemy logs a traceback when Ctrl-C interrupts a query, besides raising it.
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # else it logs a line for each retry
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _check_version(uri: str) -> None:
    """Raise a TrackingError if a server is of another major version than this MLflow."""
    if not uri.startswith("http"):
        return
    try:
        response = http_request(get_default_host_creds(uri), "/version", "GET")
    except MlflowException:
        return  # a proxy may not let this request through
    version = re.fullmatch(r"(\d+)\.\d+\S*", response.text.strip())
    if response.status_code == 200 and version and version[1] != mlflow.__version__.split(".")[0]:
        raise TrackingError(
            f"MLflow at {redact_credentials(uri)} is version {version[0]}, here it is "
            f"{mlflow.__version__}: install the same major version on both sides"
        )
