"""Real servers, MLflow's and PostgreSQL, that tests may stop and start again."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import psycopg2
from mlflow.tracking import MlflowClient

from deploy.ports import HOST
from deploy.postgres import run_postgres
from tests.support.commands import wait_until


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """An MLflow server on a fixed port, with its database and artifacts in a folder."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri)

    def launch(self) -> None:
        """Start it, and go on at once."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        settings["MLFLOW_DISABLE_TELEMETRY"] = "true"  # as `make ui` does
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=os.environ | settings
            )

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self.process is None:
            self.launch()
        wait_until(self.answers)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """End it, and the processes that it started, as a power cut would."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def new_server(folder: Path, empty_database: Path) -> Server:
    """One that is not started yet, with the tables made."""
    shutil.copy(empty_database, folder / "mlflow.db")
    return Server(folder, free_port())


PASSWORD = "a2f1-not-guessed"  # of PostgreSQL


@dataclass
class Postgres:
    """PostgreSQL on a fixed port, with its data in a folder that everybody may look into."""

    folder: Path
    port: int = field(default_factory=free_port)
    _up: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def settings(self) -> dict[str, str]:
        """What its clients have in their environment."""
        return {"STUDY_STORAGE": self.url("optuna"), "PGPASSWORD": PASSWORD}

    def url(self, database: str) -> str:
        return f"postgresql+psycopg2://study@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        mine = {"PGHOST": HOST, "PGPORT": str(self.port), "PGUSER": "study"}
        environment = os.environ | mine | {"PGPASSWORD": PASSWORD}
        self._up.enter_context(run_postgres(self.folder, self.port, environment))

    def stop(self) -> None:
        """End it, and with it all connections."""
        self._up.close()

    def make(self, database: str, options: str = "") -> str:
        """The address of a new, empty database, made with options of CREATE DATABASE."""
        address = self.url("postgres").replace("+psycopg2", "")
        with contextlib.closing(psycopg2.connect(address, password=PASSWORD)) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {database} {options}")
        return self.url(database)


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start PostgreSQL, and stop it after the block.

    Its folder is not in pytest's, which PostgreSQL may not enter, because it never runs as root.
    """
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        server = Postgres(Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()
