"""The server stack by Docker's engine: trained on, disturbed, backed up, deleted and restored.

It builds the images of docker-compose.yml and leaves them; where no registry can be reached, images
with the names of the base images must be there.
"""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dotenv import dotenv_values
from mlflow.tracking import MlflowClient

from deploy.native import find_free_ports
from tests.support.commands import finished_of
from tests.support.commands import ROOT
from tests.support.commands import runs_of
from tests.support.commands import TINY
from tests.support.commands import wait_until

COPIED = (".dockerignore", "docker-compose.yml", "requirements.lock", "requirements-dev.lock")
ROOMS = ("deploy", "study", "pipelines")
COMMAND = " ".join(("study.grid", *TINY, "--limit", "40", "--epochs", "2"))
WORKERS = ("compose", "--profile", "workers")
LIMIT = 3600  # s, for a machine with other work

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * LIMIT)]


@dataclass
class Checkout:
    """A copy of what Docker needs of the repository, with an `.env` of its own."""

    folder: Path
    project: str

    @property
    def settings(self) -> dict[str, str]:
        """What clients outside of Docker need, read from `.env` as their commands do."""
        values = {name: value or "" for name, value in dotenv_values(self.folder / ".env").items()}
        uri = f"http://127.0.0.1:{values['STUDY_MLFLOW_PORT']}"
        return values | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_USERNAME": "admin"}

    def run(self, *command: str) -> str:
        """Run a command in the copy as a user would, and return what it prints."""
        kept = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment | {"COMPOSE_PROJECT_NAME": self.project},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
        return done.stdout

    def docker(self, *flags: str) -> str:
        return self.run("docker", *flags)

    def log_of_workers(self) -> str:
        return self.docker(*WORKERS, "logs", "--no-color", "worker")

    def states_of_workers(self) -> list[tuple[str, int]]:
        """The state and exit code of each worker's container."""
        ids = self.docker(*WORKERS, "ps", "--all", "--quiet", "worker").split()
        states = [each["State"] for each in json.loads(self.docker("inspect", *ids))]
        return [(state["Status"], state["ExitCode"]) for state in states]


def find_reason_to_skip() -> str | None:
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            return "there is no program docker"
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["it failed"]
            return f"`{' '.join(command)}` says: {lines[-1]}"
    return None


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    if (reason := find_reason_to_skip()) is not None:
        pytest.skip(reason)
    for name in COPIED:
        shutil.copy(ROOT / name, tmp_path)
    for name in ROOMS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    ports = find_free_ports()
    lines = [
        # Characters that shells, addresses and readers of .env treat in their own ways
        r"PGPASSWORD='p@s:s/w#o%r&d $HOME it\'s'",
        r"MLFLOW_TRACKING_PASSWORD='m@l:f/l#o%w&= $HOME it\'s'",
        f"STUDY_POSTGRES_PORT={ports.postgres}",
        f"STUDY_MLFLOW_PORT={ports.mlflow}",
        f"STUDY_DASHBOARD_PORT={ports.dashboard}",
        f"STUDY_COMMAND={COMMAND}",
    ]
    # With the line ends of an editor on Windows
    (tmp_path / ".env").write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    checkout = Checkout(tmp_path, f"finetune-study-test-{os.getpid()}")
    try:
        yield checkout
    finally:
        checkout.docker(*WORKERS, "down", "--volumes", "--remove-orphans", "--timeout", "1")


def follow_the_docs(checkout: Checkout, what: str) -> None:
    """Run the commands of docs/cluster.md below the comment `# back up` or `# restore`."""
    text = (ROOT / "docs/cluster.md").read_text()
    commands = re.search(rf"^# {what}.*\n((?:.+\n)+?)(?:\n|```)", text, re.MULTILINE)
    assert commands is not None
    checkout.run("bash", "-euc", commands[1])


def is_login_asked_for(uri: str) -> bool:
    try:
        urllib.request.urlopen(f"{uri}/api/2.0/mlflow/experiments/get?experiment_id=0")
    except urllib.error.HTTPError as error:
        return error.code == 401
    return False


def train_with_disturbances(checkout: Checkout) -> None:
    """Have two workers train a grid, kill one, and restart PostgreSQL."""
    checkout.docker(*WORKERS, "up", "--detach", "--scale", "worker=2")
    wait_until(lambda: "epoch 1/2" in checkout.log_of_workers(), seconds=LIMIT)
    # Not `docker kill`, after which the engine would not restart it
    kill = "kill -9 $(cat /proc/1/task/1/children)"
    checkout.docker(*WORKERS, "exec", "--index", "1", "-T", "worker", "sh", "-c", kill)
    wait_until(lambda: "done;" in checkout.log_of_workers(), seconds=LIMIT)
    checkout.docker("compose", "restart", "postgres")
    ended = [("exited", 0)] * 2
    wait_until(lambda: checkout.states_of_workers() == ended, seconds=LIMIT)


def read_records(client: MlflowClient) -> dict[str, tuple[str, dict[str, float], list[str]]]:
    """The name, the metrics and the artifacts of each run."""
    return {
        run.info.run_id: (
            str(run.info.run_name),
            run.data.metrics,
            [file.path for file in client.list_artifacts(run.info.run_id)],
        )
        for run in runs_of(client)
    }


def test_every_run_arrives_and_a_backup_brings_it_back(
    checkout: Checkout, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.docker(*WORKERS, "build")
    checkout.docker("compose", "up", "--detach", "--no-build", "--wait")
    settings = checkout.settings
    assert is_login_asked_for(settings["MLFLOW_TRACKING_URI"])

    train_with_disturbances(checkout)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    client = MlflowClient()
    runs = runs_of(client)
    assert len(finished_of(client)) == 7
    statuses = {run.info.status for run in runs}
    seen = [f"{run.info.run_name}: {run.info.status} {run.data.tags}" for run in runs]
    assert statuses == {"FINISHED"}, "\n".join((*seen, checkout.log_of_workers()))
    assert len(runs) == 8, "each was trained once, under one parent"
    records = read_records(client)

    follow_the_docs(checkout, "back up")
    checkout.docker(*WORKERS, "down", "--volumes")
    follow_the_docs(checkout, "restore")
    checkout.docker("compose", "up", "--detach", "--no-build", "--wait")
    assert read_records(client) == records
    folder = str(tmp_path_factory.mktemp("restored"))
    trial = finished_of(client)[0].info.run_id
    path = client.download_artifacts(trial, "predictions.parquet", folder)
    assert Path(path).stat().st_size > 0

    checkout.docker(*WORKERS, "up", "--detach", "--scale", "worker=1")
    wait_until(lambda: checkout.states_of_workers() == [("exited", 0)], seconds=LIMIT)
    assert "7 trials, 7 finished already" in checkout.log_of_workers()
