"""The MLflow server: its address, its database, and whether it answers."""

import pickle
import shutil
import threading
import time
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from pathlib import Path

import mlflow
import optuna
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import create_engine
from sqlalchemy import text

from study.common import backoff
from study.common.errors import TrackingError
from study.common.errors import TrackingRefused
from study.common.progress import Progress
from study.tracking import connection
from study.tracking import operations
from study.tracking import outages
from study.tracking.writer import write_operation
from tests.support.commands import client_of
from tests.support.commands import runs_of
from tests.support.data_tasks import run_in_processes
from tests.support.server_tasks import record
from tests.support.servers import PASSWORD


def test_tracking_uri_by_default_is_a_file_here() -> None:
    assert connection.tracking_uri() == "sqlite:///mlflow.db"


def test_database_in_another_encoding_is_refused(
    ascii_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ascii_database)
    with pytest.raises(TrackingError, match=r"in_ascii is encoded in SQL_ASCII.*docs/cluster.md"):
        connection.connect()


@pytest.mark.slow
def test_processes_without_databases_starting_at_once_all_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/study.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    answers = run_in_processes(record, 8)
    assert len({experiment for _, experiment in answers}) == 1
    runs = runs_of(client_of(tmp_path))
    assert {run.info.run_id for run in runs} == {run_id for run_id, _ in answers}
    assert [run.data.metrics for run in runs] == [{"loss": 0.5}] * 8
    assert len(optuna.get_all_study_names(f"sqlite:///{tmp_path}/study.db")) == 8


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


def test_server_of_another_major_version_is_refused(other: str) -> None:
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
def test_server_of_the_same_or_an_unknown_version_is_accepted(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, str]
) -> None:
    monkeypatch.setattr(Answers, "version", version)
    connection.connect()


@pytest.mark.usefixtures("other")
def test_request_whose_answer_is_lost_is_not_repeated_by_mlflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Answers, "version", (200, "3.1.0"))
    client = connection.connect()
    paths: list[str] = []
    monkeypatch.setattr(Answers, "do_POST", lambda answers: paths.append(answers.path))
    with pytest.raises(MlflowException, match="Remote end closed connection without response"):
        client.create_run("0")
    assert paths == ["/api/2.0/mlflow/runs/create"]


def drop_request(_: Answers) -> None:
    """Close the connection without an answer."""


def answer_bad_gateway(answers: Answers) -> None:
    answers.answer(502, "")


@pytest.mark.parametrize(
    ("fail", "reason"),
    [(drop_request, "Connection aborted"), (answer_bad_gateway, "too many 502 error responses")],
)
@pytest.mark.usefixtures("other")
def test_server_that_is_restarted_at_the_start_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fail: Callable[[Answers], None],
    reason: str,
) -> None:
    answer = Answers.do_POST
    failures = iter([fail, fail])
    monkeypatch.setattr(Answers, "version", (200, "3.1.0"))
    monkeypatch.setattr(Answers, "do_POST", lambda answers: next(failures, answer)(answers))
    monkeypatch.setattr(backoff.stopping, "wait", lambda _: False)
    client = outages.retry_at_start(connection.connect, Progress())
    assert isinstance(client, MlflowClient)
    assert list(failures) == []
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert line.endswith("; waiting for it, for 30 s at most")


@pytest.mark.usefixtures("other")
def test_server_that_fails_at_the_start_is_waited_for_as_long_as_the_setting_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Answers, "do_POST", answer_bad_gateway)
    monkeypatch.setattr(backoff.stopping, "wait", pauses.append)
    monkeypatch.setenv("STUDY_PATIENCE", "4")
    with pytest.raises(TrackingError, match="too many 502 error responses"):
        outages.retry_at_start(connection.connect, Progress())
    assert pauses == [0.5, 1, 2]
    pauses.clear()
    monkeypatch.setenv("STUDY_PATIENCE", "0")
    with pytest.raises(TrackingError, match="too many 502 error responses"):
        outages.retry_at_start(connection.connect, Progress())
    assert pauses == []


def test_address_at_which_nothing_listens_is_given_up_after_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(
        TrackingError, match=r"no MLflow at http://127\.0\.0\.1:9: .*refused\nStart"
    ):
        outages.retry_at_start(connection.connect, Progress())
    assert 1 < time.monotonic() - started < 10
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("Connection refused; waiting for it, for 3 s at most")


@pytest.mark.parametrize("uri", ["http://no.such.host.invalid", "./mlruns"])
def test_address_that_cannot_be_meant_is_given_up_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError):
        outages.retry_at_start(connection.connect, Progress())
    assert capsys.readouterr().err == ""


def test_tracking_error_can_be_pickled_and_shows_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"no MLflow at http://127\.0\.0\.1:9") as caught:
        connection.connect()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (TrackingError, str(caught.value))
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_wait_for_server_doubles_its_pauses_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    def connect() -> str:
        if len(pauses) < 3:
            raise TrackingError("down")
        return "a client"

    monkeypatch.setattr(connection, "connect", connect)
    monkeypatch.setattr(backoff.stopping, "wait", pauses.append)
    assert outages.wait_for_server(60) == "a client"
    assert pauses == [1, 2, 4]
    pauses.clear()
    with pytest.raises(TrackingError, match="down"):
        outages.wait_for_server(0.5)
    assert pauses == []


def test_wait_for_server_that_refuses_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def connect() -> None:
        calls.append(1)
        raise TrackingRefused("no")

    monkeypatch.setattr(connection, "connect", connect)
    with pytest.raises(TrackingRefused, match="no"):
        outages.wait_for_server(60)
    assert calls == [1]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("./mlruns", "MLFLOW_TRACKING_URI=./mlruns is a folder"),
        ("file:///tmp/x", "MLFLOW_TRACKING_URI=file:///tmp/x is a folder"),
        ("127.0.0.1:5068", "lacks its scheme: write http://127.0.0.1:5068"),
        ("me:s/cret@host:5000", "=host:5000 lacks its scheme: write http://host:5000"),
        ("localhost:5000/mlflow", "lacks its scheme: write http://localhost:5000/mlflow"),
        ("ftp://h", "no MLflow at ftp://h: .*unsupported URI"),
    ],
)
def test_connect_to_an_odd_address_names_what_it_is(
    monkeypatch: pytest.MonkeyPatch, uri: str, message: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingRefused, match=message):
        connection.connect()


@pytest.mark.parametrize("uri", ["HTTP://127.0.0.1:9", "databricks"])
def test_connect_leaves_a_servers_address_to_mlflow(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=f"no MLflow at {uri.lower()}"):
        connection.connect()


def test_connect_to_a_file_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    message = rf"database {tmp_path}/mlflow\.db: .* writing\n.*, or name one in MLFLOW_TRACKING_URI"
    with pytest.raises(TrackingRefused, match=message):
        connection.connect()


def test_connect_to_optunas_database_is_refused_and_leaves_it_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/one.db"
    optuna.create_study(storage=url, study_name="x")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    with pytest.raises(TrackingRefused, match=r"one\.db is a database of Optuna's") as caught:
        connection.connect()
    assert len(str(caught.value).splitlines()) == 1
    with create_engine(url).connect() as database:
        names = database.execute(text("SELECT name FROM sqlite_master")).scalars().all()
    assert "experiments" not in names


@pytest.mark.parametrize(
    ("revision", "message"),
    [("451aebb31d03", "by an older MLflow .* mlflow db upgrade sqlite:"), ("f0f0", "by a newer")],
)
def test_connect_to_another_schema_says_which_side_is_older(
    empty_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    revision: str,
    message: str,
) -> None:
    url = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'other.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    with create_engine(url).begin() as database:
        database.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    with pytest.raises(TrackingRefused, match=message) as caught:
        connection.connect()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("variable", ["MLFLOW_ACTIVE_MODEL_ID", "_MLFLOW_ACTIVE_MODEL_ID"])
def test_metric_is_not_attached_to_a_model_that_an_earlier_job_left(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    foreign = client.create_logged_model("0", "live-model")
    monkeypatch.setenv(variable, foreign.model_id)
    own_client = connection.connect()
    run_id = own_client.create_run("0").info.run_id
    write_operation(own_client, run_id, operations.metrics({"loss": 0.5}, 1, 1))
    assert client.get_logged_model(foreign.model_id).metrics in (None, [])
    assert client.get_run(run_id).data.metrics == {"loss": 0.5}


def test_model_is_registered_beside_its_run_whatever_registry_an_earlier_job_left(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path}/registry.db")
    connection.connect().create_registered_model("demo")
    assert client.get_registered_model("demo").name == "demo"
    assert not (tmp_path / "registry.db").exists()
