"""The databases that deploy/databases.sql makes, and the way out for one in another encoding."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from deploy.databases import check_database
from deploy.errors import StackError
from deploy.postgres import find_postgres_program
from deploy.postgres import SCRIPT
from tests.support.commands import ROOT
from tests.support.servers import PASSWORD
from tests.support.servers import Postgres
from tests.support.servers import running_postgres

NAMES = ("mlflow", "mlflow_auth", "optuna")


def execute(server: Postgres, *statements: str, database: str = "postgres") -> list[str]:
    """Execute statements, and return the first column of what the last one finds."""
    address = server.url(database).replace("+psycopg2", "")
    with contextlib.closing(psycopg2.connect(address, password=PASSWORD)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.encode())  # whatever the encoding of the database
            return [row[0] for row in cursor.fetchall()] if cursor.description else []


@pytest.fixture(scope="module")
def ascii_server() -> Iterator[Postgres]:
    """PostgreSQL whose new databases are in SQL_ASCII, as on a system without a locale."""
    with running_postgres() as server:
        execute(
            server,
            *(f"DROP DATABASE {name}" for name in NAMES),
            "ALTER DATABASE template1 IS_TEMPLATE false",
            "DROP DATABASE template1",
            "CREATE DATABASE template1 ENCODING 'SQL_ASCII' TEMPLATE template0",
        )
        yield server


def run_in_shell(server: Postgres, commands: str, folder: Path) -> None:
    programs = str(Path(find_postgres_program("psql")).parent)
    environment = {
        "PATH": os.pathsep.join((programs, os.environ["PATH"])),
        **{"PGHOST": "127.0.0.1", "PGPORT": str(server.port)},
        **{"PGUSER": "study", "PGPASSWORD": PASSWORD},
    }
    subprocess.run(["bash", "-euc", commands], cwd=folder, env=environment, check=True)


@pytest.mark.parametrize(
    ("user", "port", "advice"),
    [
        ("study:not-the-password", None, "PGPASSWORD must be the password of its first start"),
        ("study:any", 9, "Check PGHOST and PGPORT"),
    ],
)
def test_database_that_does_not_open_is_explained_by_its_cause(
    postgres: Postgres, user: str, port: int | None, advice: str
) -> None:
    address = f"postgresql+psycopg2://{user}@127.0.0.1:{port or postgres.port}/mlflow"
    with pytest.raises(StackError, match="does not open the database mlflow") as caught:
        check_database(address)
    assert str(caught.value).splitlines()[1].startswith(advice)


def test_script_makes_databases_in_utf8_on_any_server(
    ascii_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in_shell(ascii_server, f"psql -q -d postgres -f '{SCRIPT}'", tmp_path)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    for name in NAMES:
        check_database(ascii_server.url(name))
        execute(ascii_server, f"DROP DATABASE {name}")


def test_way_out_of_the_docs_keeps_what_is_in_a_database(
    ascii_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(ascii_server, "CREATE DATABASE mlflow")
    rows = "CREATE TABLE runs AS SELECT 'demo · GAP'::text AS name"
    execute(ascii_server, rows, database="mlflow")
    docs = (ROOT / "docs/cluster.md").read_text()
    section = docs[docs.index("### A database in another encoding") :]
    commands = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert commands is not None
    run_in_shell(ascii_server, commands[1], tmp_path)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    check_database(ascii_server.url("mlflow"))
    assert execute(ascii_server, "SELECT name FROM runs", database="mlflow") == ["demo · GAP"]
