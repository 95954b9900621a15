"""The servers as `deploy.native` starts them, without Docker."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from dotenv import dotenv_values
from mlflow.tracking import MlflowClient

from deploy import native
from deploy.errors import StackError
from deploy.native import write_client_settings
from deploy.passwords import PASSWORDS
from deploy.ports import check_ports
from deploy.ports import find_free_ports
from deploy.ports import HOST
from deploy.ports import Ports
from deploy.postgres import find_postgres_program
from deploy.postgres import make_cluster
from tests.support.commands import finish
from tests.support.commands import run
from tests.support.commands import run_here
from tests.support.commands import runs_of
from tests.support.commands import start
from tests.support.commands import succeed
from tests.support.commands import TINY

GRID = ("study.grid", *TINY, "--epochs", "1", "--limit", "40")


@pytest.mark.parametrize(
    "password", ["a@b:c/d#e%f&g", "a$b $HOME 'c' d", '"a" #b c d-e ', "#a\\nb-cdefgh"]
)
def test_password_survives_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("PGPASSWORD", password)
    settings = write_client_settings(tmp_path, Ports())
    assert settings["PGPASSWORD"] == password
    monkeypatch.delenv("PGPASSWORD")
    assert write_client_settings(tmp_path, Ports()) == settings
    assert dotenv_values(tmp_path / "settings.env") == settings


@pytest.mark.parametrize("password", ["a-${HOME}-b-c-d", "a b c d e f\\"])
def test_password_that_a_settings_file_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("PGPASSWORD", password)
    with pytest.raises(StackError, match="PGPASSWORD cannot be written"):
        write_client_settings(tmp_path, Ports())
    assert not list(tmp_path.iterdir())


def test_settings_file_that_cannot_be_written_whole_keeps_the_old_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = write_client_settings(tmp_path, Ports())

    def fill_disk(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "fsync", fill_disk)
        with pytest.raises(OSError, match="No space"):
            write_client_settings(tmp_path, Ports(mlflow=5001))
    assert dotenv_values(tmp_path / "settings.env") == settings
    address = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5001"}
    assert write_client_settings(tmp_path, Ports(mlflow=5001)) == settings | address
    assert [path.name for path in tmp_path.iterdir()] == ["settings.env"]


def test_settings_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    write_client_settings(tmp_path, Ports())
    file = tmp_path / "settings.env"
    before = file.stat()
    file.chmod(0o644)
    write_client_settings(tmp_path, Ports())
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_ino == before.st_ino, "written again, with the same content"


@pytest.mark.parametrize("text", [None, ""])
def test_settings_file_lost_after_the_first_start_is_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    file = tmp_path / "settings.env"
    (tmp_path / "postgres").mkdir()
    if text is not None:
        file.write_text(text)
    with pytest.raises(StackError, match=f"{file} has no MLFLOW_TRACKING_PASSWORD, but .*first"):
        write_client_settings(tmp_path, Ports())
    passwords = {name: f"{name}-of-the-first-start" for name in PASSWORDS}
    for name, password in passwords.items():
        monkeypatch.setenv(name, password)
    settings = write_client_settings(tmp_path, Ports())
    assert {name: settings[name] for name in PASSWORDS} == passwords


def test_port_in_use_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        ports = find_free_ports()._asdict() | {"mlflow": port}
        flags = [str(tmp_path / "stack"), *(f"--{name}={each}" for name, each in ports.items())]
        monkeypatch.setattr(sys, "argv", ["deploy.native", *flags])
        assert native.main() == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: port {port} cannot be used: Address already in use")
    assert "--mlflow PORT" in error
    assert not (tmp_path / "stack").exists()


def test_folder_that_is_a_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "stack"
    file.touch()
    monkeypatch.setattr(sys, "argv", ["deploy.native", str(file), "--free-ports"])
    assert native.main() == 2
    assert capsys.readouterr().err == f"error: {file}: File exists. Choose another FOLDER\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to be another user")
def test_folder_that_postgresql_may_not_enter_is_explained(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(StackError, match="runs as the user nobody"):
        make_cluster(tmp_path / "postgres", "a2f1-not-guessed")


def test_cluster_whose_making_is_cut_off_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert list(tmp_path.iterdir()) != []
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_cluster(tmp_path / "postgres", "a2f1-not-guessed")
    assert not (tmp_path / "postgres").exists()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Not pytest's, into which PostgreSQL, never being root, may not look."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[dict[str, str]]:
    """The stack while the tests run: what it says belongs into `.env`.

    A first start was killed while it made PostgreSQL's folder, a second one before it had made the
    databases.
    """
    settings = write_client_settings(folder, find_free_ports())
    (folder / "postgres.part").mkdir()
    (folder / "postgres.part" / "PG_VERSION").write_text("18\n")
    make_cluster(folder / "postgres", settings["PGPASSWORD"])
    process = start("deploy.native", str(folder), "--free-ports", cwd=folder)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(5)]
        if process.poll() is not None:
            pytest.fail(process.communicate()[1])
        yield dict(line.strip().split("=", 1) for line in lines)
    finally:
        process.send_signal(signal.SIGHUP)  # the terminal is closed
        process.send_signal(signal.SIGINT)
        assert finish(process).returncode == 0
        mlflow, postgres = re.findall(rf"{HOST}:(\d+)", "".join(lines))
        ports = find_free_ports()._replace(postgres=int(postgres), mlflow=int(mlflow))
        check_ports(ports)  # no server is left running


@pytest.fixture
def client(stack: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    for name, value in stack.items():
        monkeypatch.setenv(name, value)
    return MlflowClient()


def test_folder_of_the_stack_keeps_no_unfinished_file(folder: Path, stack: dict[str, str]) -> None:
    assert stack
    assert list(folder.glob("*.part")) == []


def test_settings_file_is_readable_by_its_owner_alone(folder: Path, stack: dict[str, str]) -> None:
    assert (folder / "settings.env").stat().st_mode & 0o777 == 0o600
    assert set(stack) == {
        *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        *("STUDY_STORAGE", "PGPASSWORD"),
    }


@pytest.mark.parametrize(
    "path",
    ["api/2.0/mlflow/experiments/get?experiment_id=0", "api/2.0/mlflow-artifacts/artifacts"],
)
def test_mlflow_refuses_a_request_without_a_login(stack: dict[str, str], path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{stack['MLFLOW_TRACKING_URI']}/{path}")
    assert caught.value.code == 401


def test_mlflow_accepts_the_right_login(client: MlflowClient) -> None:
    assert client.search_experiments(max_results=1)


def test_mlflow_refuses_a_foreign_host_header(folder: Path, stack: dict[str, str]) -> None:
    request = urllib.request.Request(stack["MLFLOW_TRACKING_URI"], headers={"Host": "evil.test"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 403
    log = (folder / "mlflow.log").read_text()
    assert "Application startup complete" in log
    assert "GET /" not in log, "a line per request fills the disk"


@pytest.mark.parametrize("wrong", ["not-the-password", None])
def test_train_with_a_refused_login_exits_2_with_one_line(
    stack: dict[str, str], tmp_path: Path, wrong: str | None
) -> None:
    settings = {k: v for k, v in stack.items() if not k.startswith("MLFLOW_TRACKING_P")}
    if wrong is not None:
        settings["MLFLOW_TRACKING_PASSWORD"] = wrong
    done = run_here("study.train", *TINY, "--epochs", "1", cwd=tmp_path, **settings)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: MLflow at {stack['MLFLOW_TRACKING_URI']} refuses the login: "
        "correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD\n"
    )


@pytest.mark.parametrize("wrong", ["not-the-password", ""])
def test_postgresql_refuses_a_wrong_or_missing_password(stack: dict[str, str], wrong: str) -> None:
    address = stack["STUDY_STORAGE"].replace("+psycopg2", "")
    psycopg2.connect(address, password=stack["PGPASSWORD"]).close()
    with pytest.raises(psycopg2.OperationalError, match=r"authentication failed|no password"):
        psycopg2.connect(address, password=wrong)


@pytest.mark.slow
def test_grid_on_the_stack_is_trained_once_and_shows_no_password(
    stack: dict[str, str], client: MlflowClient, tmp_path: Path
) -> None:
    done = run(*GRID, cwd=tmp_path, **stack)
    first = done.stderr + done.stdout
    assert done.returncode == 0, first
    assert "7 of 7 finished" in first
    assert "View run" not in first, "MLflow prints addresses, which may hold a password"
    runs = runs_of(client)
    assert len(runs) == 8  # and the parent

    assert "7 trials, 7 finished already" in succeed(*GRID, cwd=tmp_path, **stack)
    assert [run.info.run_id for run in runs_of(client)] == [run.info.run_id for run in runs]
    assert not list(tmp_path.iterdir()), "something was recorded here and not on the servers"

    trial = next(run for run in runs if run.data.tags.get("finished") == "true")
    assert trial.info.artifact_uri.startswith("mlflow-artifacts:")
    path = client.download_artifacts(trial.info.run_id, "predictions.parquet", str(tmp_path))
    assert Path(path).stat().st_size > 0

    written = first + "".join(str(run.to_dictionary()) for run in runs)
    assert [name for name in PASSWORDS if stack[name] in written] == []


def test_dump_of_the_database_can_be_restored(stack: dict[str, str], tmp_path: Path) -> None:
    address = stack["STUDY_STORAGE"].replace("+psycopg2", "").removesuffix("/optuna")
    environment = os.environ | {"PGPASSWORD": stack["PGPASSWORD"]}

    def postgres(program: str, *flags: str) -> str:
        command = [find_postgres_program(program), *flags]
        return subprocess.check_output(command, env=environment, text=True)

    def tables(database: str) -> str:
        count = "select relname, n_live_tup from pg_stat_user_tables order by 1"
        return postgres("psql", "-At", "-c", "analyze", "-c", count, "-d", f"{address}/{database}")

    dump = str(tmp_path / "mlflow.dump")
    postgres("pg_dump", "-Fc", "-f", dump, f"{address}/mlflow")
    postgres("psql", "-q", "-c", "create database copy", "-d", f"{address}/mlflow")
    for _ in range(2):  # into nothing, and over what is there
        postgres("pg_restore", "--clean", "--if-exists", "-d", f"{address}/copy", dump)
    assert tables("copy") == tables("mlflow")
