"""Failures of the MLflow server: which of them pass, and how they are told."""

from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2
from sqlalchemy.exc import ArgumentError

from study.common.errors import TrackingError
from study.common.errors import TrackingRefused
from study.tracking import failures


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("http://me:secret@host:5000/x", "http://host:5000/x"),
        ("http://me:s@cret@host/x", "http://host/x"),
        (
            "postgresql+psycopg2://study:S3cr/etPass@db/optuna",
            "postgresql+psycopg2://db/optuna",
        ),
        ("no postgresql://a:b@h/x, no http://c:d/e@h/y", "no postgresql://h/x, no http://h/y"),
        ("me:secret@host:5000", "host:5000"),
        ("MLFLOW_TRACKING_URI=me:sec/ret@host:5000 is", "MLFLOW_TRACKING_URI=host:5000 is"),
        ("not parsed: 'me:secret@host/db'", "not parsed: 'host/db'"),
        ("postgresql://h/db?user=a&password=b&c=d", "postgresql://h/db?user=a&password=...&c=d"),
    ],
)
def test_redact_credentials_removes_users_and_passwords(text: str, redacted: str) -> None:
    assert failures.redact_credentials(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///mlflow.db",
        "sqlite:////home/me@work/a:b@c/mlflow.db",
        "http://host:5000/api: (Caused by an error at 12:00)",
        "no model models:/demo@champion",
    ],
)
def test_redact_credentials_leaves_a_text_without_credentials(text: str) -> None:
    assert failures.redact_credentials(text) == text


def test_file_in_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reason = "(sqlite3.OperationalError) unable to open database file"
    message = failures.explain_unusable_file("STUDY_STORAGE", "sqlite:///study.db", reason)
    assert message is not None
    assert f"{tmp_path}/study.db: the folder {tmp_path} cannot be written" in message
    assert failures.explain_unusable_file("STUDY_STORAGE", "sqlite:///a.db", "locked") is None
    assert failures.explain_unusable_file("STUDY_STORAGE", "postgresql://h/d", reason) is None


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("API request to http://h failed with exception ..."),
        MlflowException("database is locked", databricks_pb2.TEMPORARILY_UNAVAILABLE),
        MlflowException("QueuePool limit of size 5 reached", databricks_pb2.BAD_REQUEST),
        MlflowException("(psycopg2.InterfaceError) closed", databricks_pb2.BAD_REQUEST),
        MlflowException("(psycopg2.DatabaseError) no message", databricks_pb2.BAD_REQUEST),
        MlflowException("This Connection is closed", databricks_pb2.BAD_REQUEST),
        MlflowException(
            "Can't reconnect until invalid transaction is rolled back", databricks_pb2.BAD_REQUEST
        ),
        MlflowException("UNIQUE constraint failed: datasets.name", databricks_pb2.BAD_REQUEST),
        MlflowException("(psycopg2.errors.UniqueViolation)", databricks_pb2.BAD_REQUEST),
        MlflowException("slow down", databricks_pb2.REQUEST_LIMIT_EXCEEDED),
        *(answered(status) for status in (404, 429, 500, 503)),
        requests.ConnectionError(),
        requests.JSONDecodeError("of a proxy", "", 0),
        TimeoutError(),
    ],
)
def test_is_retryable_of_an_outage_is_true(error: Exception) -> None:
    assert failures.is_retryable(error)


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("gone", databricks_pb2.RESOURCE_DOES_NOT_EXIST),
        MlflowException("bad", databricks_pb2.INVALID_PARAMETER_VALUE),
        MlflowException("bad", databricks_pb2.INVALID_STATE),
        MlflowException("no", databricks_pb2.CUSTOMER_UNAUTHORIZED),
        MlflowException("no", databricks_pb2.PERMISSION_DENIED),
        MlflowException("(sqlite3.DataError) bad", databricks_pb2.BAD_REQUEST),
        MlflowException("FOREIGN KEY constraint failed", databricks_pb2.BAD_REQUEST),
        ArgumentError("Could not parse SQLAlchemy URL"),
        *(answered(status) for status in (400, 401, 403)),
        OSError(28, "No space left on device"),
        ValueError(),
    ],
)
def test_is_retryable_of_a_refusal_is_false(error: Exception) -> None:
    assert not failures.is_retryable(error)


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (MlflowException("Permission denied", databricks_pb2.PERMISSION_DENIED), True),
        (MlflowException("No Experiment with id=7", databricks_pb2.RESOURCE_DOES_NOT_EXIST), True),
        (MlflowException("try later", databricks_pb2.TEMPORARILY_UNAVAILABLE), False),
    ],
)
def test_study_error_tells_a_refusal_from_an_outage(error: Exception, *, refused: bool) -> None:
    with pytest.raises(TrackingError) as caught, failures.mlflow_errors_as_study_errors():
        raise error
    assert isinstance(caught.value, TrackingRefused) == refused


@pytest.mark.parametrize(
    ("text", "described"),
    [
        (
            "API request to http://h/api failed with exception HTTPConnectionPool(host='h', "
            "port=80): Max retries exceeded with url: /api (Caused by NewConnectionError("
            "\"HTTPConnection(host='h', port=80): Failed to establish a new connection: "
            '[Errno 111] Connection refused"))',
            "Failed to establish a new connection: [Errno 111] Connection refused",
        ),
        (
            "HTTPConnectionPool(host='h', port=80): Max retries exceeded (Caused by "
            "ConnectTimeoutError(<HTTPConnection object at 0x7f>, 'Connection to h timed out.'))",
            "Connection to h timed out.",
        ),
        ("x" * 400 + " because of this", None),
    ],
)
def test_described_error_keeps_its_cause(text: str, described: str | None) -> None:
    answer = failures.describe_error(MlflowException(text))
    assert len(answer) <= 300
    assert answer == described if described else answer.endswith("because of this")
