"""Connect to the MLflow server, and check that it suits this code."""

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from study.common.cache import cache_dir
from study.common.cache import exclusive_cache_lock
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.errors import TrackingRefused
from study.common.settings import get_sqlite_file
from study.common.settings import tracking_uri
from study.tracking.failures import describe_error
from study.tracking.failures import explain_unusable_file
from study.tracking.failures import is_login_refusal
from study.tracking.failures import is_retryable
from study.tracking.failures import redact_credentials
from study.tracking.moved_artifacts import check_artifact_paths
from study.tracking.postgres import require_utf8
from study.tracking.schema import find_outdated_revision
from study.tracking.schema import find_schema_owner
from study.tracking.schema import is_newer_schema

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


def _check_address(uri: str) -> None:
    """Raise a TrackingRefused if an address is that of a folder, or lacks its scheme."""
    address = redact_credentials(uri)
    setting = f"MLFLOW_TRACKING_URI={address}"
    if re.match(r"[\w.-]+:\d+(/|$)", address):
        raise TrackingRefused(f"{setting} lacks its scheme: write http://{address}")
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
    if (message := explain_unusable_file("MLFLOW_TRACKING_URI", uri, reason)) is not None:
        return TrackingRefused(message)
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
    lock = cache_dir() / "locks" / f"tables-{hashlib.sha256(os.fsencode(file)).hexdigest()[:16]}"
    with exclusive_cache_lock(lock, wait=True):
        yield


def _configure_client() -> None:
    """Make MLflow fail soon and quietly, and log nothing that it was not given.

    This package itself repeats the requests that are worth repeating.
    """
    for name in LEFTOVERS:
        os.environ.pop(name, None)
    # A request whose answer was lost would be repeated at once, and make a second run. This package
    # looks for the first one before it repeats.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
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
