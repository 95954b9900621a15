"""Tell MLflow's passing failures from lasting ones, and put them into words."""

import contextlib
import re
from collections.abc import Iterator

import requests
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import SQLAlchemyError

from study.common.errors import first_line
from study.common.errors import shorten
from study.common.errors import TrackingError
from study.common.errors import TrackingRefused
from study.common.settings import get_sqlite_file
from study.common.settings import tracking_uri

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
UNUSABLE_FILE = re.compile(r"unable to open database file|attempt to write a readonly database")
MAX_ERROR_LENGTH = 5000  # characters of an error's first line that are looked through for its cause


def redact_credentials(text: str) -> str:
    """Return a text without user names, passwords and tokens, fit for messages.

    The text is a URI or has URIs in it, be it without its scheme. Whatever stands before the last
    `@` counts as a password, which may have any character.
    """
    text = re.sub(r"(?<!sqlite)://\S*@", "://", text)
    text = re.sub(r"""(?<![^\s='"(])(?!models:/)[^\s:/@='"(]+:(?!//)\S*@""", "", text)
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


def explain_unusable_file(setting: str, url: str, reason: str) -> str | None:
    """Return a message on an SQLite file that cannot be written, or None.

    Args:
        setting: the environment variable that chooses the database.
        url: the database's.
        reason: what SQLite says, which names neither the file nor the folder.
    """
    file = get_sqlite_file(url)
    if file is None or not UNUSABLE_FILE.search(reason):
        return None
    if not file.parent.is_dir():
        problem = f"there is no folder {file.parent}"
    elif not file.exists():
        problem = f"the folder {file.parent} cannot be written"
    else:
        problem = "it, or its folder, cannot be opened for writing"
    return (
        f"cannot use the database {file}: {problem}\n"
        f"Run the command in a folder that you can write to, or name one in {setting}."
    )


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
