"""The commands that Docker and deploy.native start their servers by."""

import sys
from pathlib import Path

import pytest

from deploy import serve
from deploy.errors import StackError
from tests.support.servers import PASSWORD
from tests.support.servers import Postgres


def make_program(folder: Path, name: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An interpreter with nothing beside it, and nothing on the PATH."""
    path = make_program(tmp_path / "bin", "python")
    monkeypatch.setattr(sys, "executable", path)
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    return path


@pytest.mark.usefixtures("python")
def test_program_on_the_path_is_found(tmp_path: Path) -> None:
    path = make_program(tmp_path / "elsewhere", "optuna-dashboard")
    assert serve.build_dashboard_command("127.0.0.1", 8080)[0] == path


@pytest.mark.usefixtures("python")
def test_program_beside_the_interpreter_is_preferred(tmp_path: Path) -> None:
    make_program(tmp_path / "elsewhere", "mlflow")
    path = make_program(tmp_path / "bin", "mlflow")
    assert serve.build_mlflow_command("127.0.0.1", 5000, "artifacts", "")[0] == path


def test_program_that_is_missing_is_named_with_the_way_out(python: str) -> None:
    with pytest.raises(StackError, match=r"no optuna-dashboard beside .* or on the PATH") as caught:
        serve.build_dashboard_command("127.0.0.1", 8080)
    assert python in str(caught.value)
    assert "pip install -r requirements-dev.lock" in str(caught.value)


def run_serve(monkeypatch: pytest.MonkeyPatch, postgres: Postgres, server: str, **more: str) -> int:
    passwords = {"PGPASSWORD": PASSWORD, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    place = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "study"}
    for name, value in (passwords | place | more).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["deploy.serve", server])
    return serve.main()


@pytest.mark.parametrize(
    ("server", "database"),
    [("mlflow", "RUNS"), ("mlflow", "LOGINS"), ("dashboard", "SEARCHES")],
)
def test_database_in_another_encoding_is_refused_by_name(
    postgres: Postgres,
    ascii_database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    server: str,
    database: str,
) -> None:
    monkeypatch.setattr(serve, database, ascii_database)
    assert run_serve(monkeypatch, postgres, server) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the database in_ascii is encoded in SQL_ASCII")
    assert "docs/cluster.md" in error


def test_password_that_postgresql_refuses_ends_the_command_in_two_lines(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_serve(monkeypatch, postgres, "mlflow", PGPASSWORD="another-a2f1") == 2
    error = capsys.readouterr().err
    assert "the database mlflow: " in error
    assert "password authentication failed" in error
    assert len(error.splitlines()) == 2
