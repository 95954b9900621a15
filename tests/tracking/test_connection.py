"""The MLflow server: its address, whether it answers, and which of its failures pass."""

import pickle
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path

import mlflow
import optuna
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2

from study.common.errors import TrackingError
from study.tracking import connection
from tests.support.commands import client_of
from tests.support.commands import runs_of
from tests.support.data_tasks import answers_of
from tests.support.server_tasks import record
from tests.support.servers import PASSWORD


def test_the_default_is_a_file_of_the_working_directory() -> None:
    assert connection.tracking_uri() == "sqlite:///mlflow.db"


def test_a_password_is_not_shown() -> None:
    assert connection.redact_credentials("http://me:secret@host:5000/x") == "http://host:5000/x"
    assert connection.redact_credentials("sqlite:///mlflow.db") == "sqlite:///mlflow.db"
    assert connection.redact_credentials("http://me:s@cret@host/x") == "http://host/x"
    assert connection.redact_credentials("postgresql://h/db?user=a&password=b&c=d").endswith(
        "?user=a&password=...&c=d"
    )


def test_a_database_in_another_encoding_is_refused(
    ascii_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ascii_database)
    with pytest.raises(TrackingError, match=r"in_ascii is encoded in SQL_ASCII.*docs/cluster.md"):
        connection.connect()


@pytest.mark.slow
def test_processes_that_begin_at_once_without_databases_all_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/study.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    answers = answers_of(record, 8)
    assert len({experiment for _, experiment in answers}) == 1
    runs = runs_of(client_of(tmp_path))
    assert {run.info.run_id for run in runs} == {run_id for run_id, _ in answers}
    assert [run.data.metrics for run in runs] == [{"loss": 0.5}] * 8
    assert len(optuna.get_all_study_names(f"sqlite:///{tmp_path}/study.db")) == 8


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("API request to http://h failed with exception ..."),
        MlflowException("database is locked", databricks_pb2.TEMPORARILY_UNAVAILABLE),
        MlflowException("no", databricks_pb2.CUSTOMER_UNAUTHORIZED),
        MlflowException("no", databricks_pb2.PERMISSION_DENIED),
        MlflowException("slow down", databricks_pb2.REQUEST_LIMIT_EXCEEDED),
        *(answered(status) for status in (401, 403, 404, 429, 500, 503)),
        requests.ConnectionError(),
        requests.JSONDecodeError("of a proxy", "", 0),
        TimeoutError(),
    ],
)
def test_what_passes_by_waiting(error: Exception) -> None:
    assert connection.is_retryable(error)


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("gone", databricks_pb2.RESOURCE_DOES_NOT_EXIST),
        MlflowException("bad", databricks_pb2.INVALID_PARAMETER_VALUE),
        MlflowException("bad", databricks_pb2.INVALID_STATE),
        answered(400),
        OSError(28, "No space left on device"),
        ValueError(),
    ],
)
def test_what_does_not(error: Exception) -> None:
    assert not connection.is_retryable(error)


class Answers(BaseHTTPRequestHandler):
    """An MLflow of another version, as far as `connect` looks."""

    version = (200, "2.22.1")

    def do_GET(self) -> None:
        self.answer(*self.version)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, "{}")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write((text if "version" in self.path else "{}").encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server whose version can be set."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:s3cret@127.0.0.1:{http.server_port}")
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def test_another_major_version_is_refused(other: str) -> None:
    with pytest.raises(TrackingError) as caught:
        connection.connect()
    assert str(caught.value) == (
        f"MLflow at {other} is version 2.22.1, here it is {mlflow.__version__}: "
        "install the same major version on both sides"
    )


@pytest.mark.parametrize(
    "version", [(200, "3.1.0"), (404, "not found"), (200, "<html>a proxy's page</html>")]
)
@pytest.mark.usefixtures("other")
def test_the_same_or_an_unknown_version_is_not(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, str]
) -> None:
    monkeypatch.setattr(Answers, "version", version)
    connection.connect()


def test_an_error_may_pass_between_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"no MLflow at http://127\.0\.0\.1:9") as caught:
        connection.connect()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (TrackingError, str(caught.value))
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def connect() -> str:
        if len(pauses) < 3:
            raise TrackingError("down")
        return "a client"

    monkeypatch.setattr(connection, "connect", connect)
    monkeypatch.setattr(connection.time, "sleep", pauses.append)
    assert connection.wait_for_server(60) == "a client"
    assert pauses == [1, 2, 4]
    pauses.clear()
    with pytest.raises(TrackingError, match="down"):
        connection.wait_for_server(0.5)
    assert pauses == []
