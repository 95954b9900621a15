"""Connect to the MLflow server and tell its passing failures from lasting ones."""

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator

import mlflow
import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy import create_engine
from sqlalchemy import text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from study.common.backoff import retry_with_backoff
from study.common.cache import cache_lock
from study.common.errors import first_line
from study.common.errors import shorten
from study.common.errors import StudyError
from study.common.errors import TrackingError as TrackingError
from study.common.errors import TrackingRefused
from study.common.settings import get_sqlite_file
from study.common.settings import tracking_uri
from study.tracking.moved_artifacts import check_artifact_paths
from study.tracking.schema import find_outdated_revision
from study.tracking.schema import find_schema_owner
from study.tracking.schema import is_newer_schema

LONGEST_PAUSE = 15.0  # seconds between two attempts
# Error codes of a login that MLflow does not accept, or does not let do this
LOGIN_REFUSALS = {"CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED", "UNAUTHENTICATED"}
# Error codes that a later attempt would get again: besides the login's, the run is gone, or MLflow
# does not accept what was sent.
REFUSALS = LOGIN_REFUSALS | {
    "ALREADY_EXISTS",
    "BAD_REQUEST",
    "FEATURE_DISABLED",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "NOT_FOUND",
    "NOT_IMPLEMENTED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}
# MLflow says BAD_REQUEST for these, too, although the database is only busy or was restarted, or
# another run wrote the same row, such as that of the data set, at the same moment.
BUSY_DATABASE = re.compile(
    r"QueuePool limit|InterfaceError|[Cc]onnection (already|is) closed|\(psycopg2\.DatabaseError\)"
    r"|transaction (is|has been) rolled back"
    r"|UNIQUE constraint failed|UniqueViolation"
)
MAX_ERROR_LENGTH = 5000  # characters of an error's first line that are looked through for its cause
# MLflow's variables that change what a client logs, if an earlier job has left them: the first two
# attach metrics to that job's model, the third adds its tags to new runs, and with the fourth a
# request counts as done before it was sent. The last one would send models to another registry than
# that beside their runs.
LEFTOVERS = (
    "MLFLOW_ACTIVE_MODEL_ID",
    "_MLFLOW_ACTIVE_MODEL_ID",
    "MLFLOW_RUN_CONTEXT",
    "MLFLOW_ENABLE_ASYNC_LOGGING",
    "MLFLOW_REGISTRY_URI",
)


def redact_credentials(text: str) -> str:
    """Return a text without user names, passwords and tokens, fit for messages.

    The text is a URI or has URIs in it.
    """
    text = re.sub(r"(\w://)[^/\s]*@", r"\1", text)
    return re.sub(r"((?:password|secret|token)=)[^&\s]*", r"\1...", text, flags=re.IGNORECASE)


def describe_error(error: BaseException) -> str:
    """Return the first line of an error's text, fit for messages.

    It has no credentials and at most 300 characters. Of a failed connection, only the cause is
    left. An error without a text gives its class name.
    """
    text = redact_credentials(first_line(error, length=MAX_ERROR_LENGTH))
    # (Caused by SomeError("HTTPConnection(host='h', port=80): Failed to ...: Connection refused"))
    if cause := re.search(r"""\(Caused by \w+\(.*?(["'])(.*)\1\)\)$""", text):
        text = re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", cause[2])
    return shorten(text)


def is_retryable(error: Exception) -> bool:
    """Return True if the same request may succeed later.

    That is so if the server or the way to it fails now, and not if the request is wrong or is
    refused.
    """
    if isinstance(error, MlflowException):
        return error.error_code not in REFUSALS or _is_busy_database(error)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        # A 404 of this kind comes from a proxy.
        return status >= 500 or status in (404, 408, 429)
    if isinstance(error, requests.RequestException | ConnectionError | TimeoutError):
        return True
    permanent = (OSError, ValueError, TypeError, LookupError, AttributeError, ArgumentError)
    return not isinstance(error, permanent)


def _is_busy_database(error: MlflowException) -> bool:
    return error.error_code == "BAD_REQUEST" and bool(BUSY_DATABASE.search(str(error)))


def is_login_refusal(error: Exception) -> bool:
    """Return True if MLflow does not accept the login, or does not let it do this.

    Somebody may be changing the password while a trial trains. What that trial has recorded is kept
    for later, although nothing new should be started.
    """
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in (401, 403)
    return isinstance(error, MlflowException) and error.error_code in LOGIN_REFUSALS


@contextlib.contextmanager
def mlflow_errors_as_study_errors() -> Iterator[None]:
    """Turn a failure of the server into an error of one line.

    Used as a context manager or as the decorator of a function.

    Raises:
        TrackingError: the server failed.
        TrackingRefused: the server refused the request for good.
    """
    try:
        yield
    except (MlflowException, requests.RequestException, SQLAlchemyError) as error:
        address = redact_credentials(tracking_uri())
        # Drop the cause: its text has the unredacted address, which would go into tracebacks.
        if is_retryable(error):
            raise TrackingError(f"MLflow at {address} fails: {describe_error(error)}") from None
        raise TrackingRefused(f"MLflow at {address} refuses: {describe_error(error)}") from None


def connect() -> MlflowClient:
    """Return a client of the tracking server, after checking that the server answers.

    Creates the database schema if there is none.

    Raises:
        ConfigError: the address cannot be meant.
        TrackingError: the server does not answer, or cannot be written.
        TrackingRefused: the server refuses the login, is of another major version, or its database
            is not one of this MLflow, or not in UTF-8.
        DataError: the cache folder cannot be written.
        StudyError: the database was moved or copied with the files of its runs.
    """
    uri = tracking_uri()
    _check_address(uri)
    mlflow.set_tracking_uri(uri)
    _configure_client()
    try:
        require_utf8(uri)  # before MLflow makes its tables
        with schema_lock(uri):
            _check_owner(uri)
            client = MlflowClient()
            client.search_experiments(max_results=1)
    except StudyError:
        raise
    except Exception as error:  # the store's driver may raise anything
        raise _explain_failure(uri, error) from None
    _check_version(uri)
    check_artifact_paths(uri)
    return client


def require_utf8(uri: str) -> None:
    """Check that a PostgreSQL database stores text in UTF-8, as run names need.

    Any other address passes.

    Raises:
        TrackingRefused: it has another encoding.
    """
    if not uri.startswith("postgresql"):
        return
    with create_engine(uri, poolclass=NullPool).connect() as connection:
        encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise TrackingRefused(
            f"the database at {redact_credentials(uri)} is encoded in {encoding}, but the names of "
            'runs need UTF8: see docs/cluster.md, "A database in another encoding"'
        )


def _check_address(uri: str) -> None:
    """Raise a TrackingRefused if an address is that of a folder, or lacks its scheme."""
    setting = f"MLFLOW_TRACKING_URI={redact_credentials(uri)}"
    if re.match(r"[\w.-]+:\d+(/|$)", uri):
        raise TrackingRefused(f"{setting} lacks its scheme: write http://{redact_credentials(uri)}")
    if uri.startswith("file:") or (":" not in uri and not uri.startswith("databricks")):
        raise TrackingRefused(
            f"{setting} is a folder, which MLflow no longer writes to: use "
            "sqlite:///mlflow.db or a server's http:// address"
        )


def _check_owner(uri: str) -> None:
    """Raise a TrackingRefused if a database is Optuna's: the two cannot share one."""
    if find_schema_owner(uri) == "Optuna":
        raise TrackingRefused(
            f"{redact_credentials(uri)} is a database of Optuna's, which MLflow cannot share: give "
            "MLFLOW_TRACKING_URI and STUDY_STORAGE a database each"
        )


def _explain_outdated_schema(address: str, revision: str) -> str:
    if is_newer_schema(revision):
        return (
            f"the database {address} was made by a newer MLflow than {mlflow.__version__}, which "
            "is here: install that newer version, or set MLFLOW_TRACKING_URI to another database"
        )
    return (
        f"the database {address} was made by an older MLflow than {mlflow.__version__}, which is "
        f"here: copy it as a backup, then bring it up to date with mlflow db upgrade {address}"
    )


def _explain_failure(uri: str, error: Exception) -> TrackingError:
    """Return the error to raise for one that MLflow raised when it was first asked."""
    address = redact_credentials(uri)
    reason = describe_error(error)
    if "error code 401" in str(error):
        return TrackingRefused(
            f"MLflow at {address} refuses the login: "
            "correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if (revision := find_outdated_revision(str(error))) is not None:
        return TrackingRefused(_explain_outdated_schema(address, revision))
    if is_login_refusal(error):
        return TrackingRefused(
            f"MLflow at {address} refuses: {reason}\nAsk its administrator for permission, or set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a login that has it."
        )
    kind = TrackingError if is_retryable(error) else TrackingRefused
    return kind(
        f"no MLflow at {address}: {reason}\n"
        "Start it, correct MLFLOW_TRACKING_URI, or unset that to use mlflow.db in this folder."
    )


@contextlib.contextmanager
def schema_lock(uri: str) -> Iterator[None]:
    """Lock an SQLite file while its tables may be created.

    The lock keeps out this user's other processes. Two processes that create the tables at the
    same time corrupt them, be it MLflow's tables or Optuna's. Other databases are not locked.

    Raises:
        StudyError: the cache folder cannot be written.
    """
    file = get_sqlite_file(uri)
    if file is None:
        yield
        return
    with cache_lock(f"tables-{hashlib.sha256(os.fsencode(file)).hexdigest()[:16]}"):
        yield


def wait_for_server(seconds: float) -> MlflowClient:
    """Return a client as soon as the server answers.

    Raises:
        TrackingError: the server did not answer within `seconds`.
        TrackingRefused: it answered, and refuses.
    """
    return retry_with_backoff(
        connect,
        lambda error: isinstance(error, TrackingError) and not isinstance(error, TrackingRefused),
        seconds=seconds,
        first_pause=1.0,
        longest_pause=LONGEST_PAUSE,
    )


def _configure_client() -> None:
    """Make MLflow fail soon and quietly, and log nothing that it was not given.

    This package itself repeats the requests that are worth repeating.
    """
    for name in LEFTOVERS:
        os.environ.pop(name, None)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")  # seconds
    # Else MLflow prints two lines at the end of each run, with the unredacted address: a password
    # in it would be shown.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # SQLAlchemy logs a traceback when Ctrl-C interrupts a query, besides raising it.
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # else it logs a line for each retry
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _check_version(uri: str) -> None:
    """Raise a TrackingRefused if a server has another major version than MLflow here."""
    if not uri.startswith("http"):
        return
    try:
        response = http_request(get_default_host_creds(uri), "/version", "GET")
    except MlflowException:
        return  # a proxy may not let this request through
    version = re.fullmatch(r"(\d+)\.\d+\S*", response.text.strip())
    if response.status_code == 200 and version and version[1] != mlflow.__version__.split(".")[0]:
        raise TrackingRefused(
            f"MLflow at {redact_credentials(uri)} is version {version[0]}, here it is "
            f"{mlflow.__version__}: install the same major version on both sides"
        )
