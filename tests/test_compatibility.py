"""What the last commit before the move into packages left behind, taken up by the code of today.

One of each: a finished run, a registered model, a checkpoint, a spool, an offline record, a grid.
"""

import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from study.data.prepare import prepare
from tests.support.commands import client_of
from tests.support.commands import finish
from tests.support.commands import finished_of
from tests.support.commands import history_of
from tests.support.commands import ROOT
from tests.support.commands import runs_of
from tests.support.commands import start
from tests.support.commands import succeed
from tests.support.commands import TINY
from tests.support.commands import wait_until

BEFORE = "7d9a3e80b9bc"
FINISHED = (*TINY, "--epochs", "2", "--register")
INTERRUPTED = (*TINY, "--epochs", "6", "--lr", "2e-3")
OFFLINE = (*TINY, "--epochs", "2", "--variant", "2", "--out", "records")
GRID = (*TINY, "--epochs", "1", "--limit", "40")
SPOOL = """
from study import server, spool, tracking
from study.operations import Operation
client = server.connect()
run = client.create_run(tracking.experiment_id(client, "demo"))
spool.save(run.info.run_id, [Operation("batch", {"metrics": [["late", 0.5, 1000, 3]]}),
                             Operation("end", {"status": "FINISHED", "time": 2000})])
print(run.info.run_id)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings_of_earlier_code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings with which a command runs the code of that commit."""
    code = tmp_path_factory.mktemp("before")
    archive = subprocess.run(
        ["git", "archive", BEFORE, "study", "pipelines"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode != 0:
        pytest.skip(f"no commit {BEFORE} here: this checkout lacks its history")
    subprocess.run(["tar", "-x", "-C", str(code)], input=archive.stdout, check=True)
    cache = tmp_path_factory.mktemp("cache")
    return {"PYTHONPATH": str(code), "STUDY_CACHE": str(cache)}


@pytest.fixture(scope="module")
def folder(
    settings_of_earlier_code: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A working directory with one of each, made by that commit."""
    folder = tmp_path_factory.mktemp("left")
    assert (
        Path(settings_of_earlier_code["PYTHONPATH"]) / "study" / "server.py"
    ).is_file()  # the flat layout
    succeed("study.train", *FINISHED, cwd=folder, **settings_of_earlier_code)
    process = start("study.train", *INTERRUPTED, cwd=folder, **settings_of_earlier_code)
    wait_until(lambda: len(epochs_of(folder)) >= 2, process)
    process.send_signal(signal.SIGKILL)
    finish(process)
    succeed("study.offline", *OFFLINE, cwd=folder, **settings_of_earlier_code)
    succeed("study.grid", *GRID, cwd=folder, **settings_of_earlier_code)
    (folder / "late.py").write_text(SPOOL)
    done = finish(start("late", cwd=folder, **settings_of_earlier_code))
    assert done.returncode == 0, done.stderr
    (folder / "late.txt").write_text(done.stdout.strip())
    return folder


def epochs_of(folder: Path) -> list[int]:
    """The epochs that the interrupted run has."""
    if not (folder / "mlflow.db").is_file():
        return []
    client = client_of(folder)
    runs = [run for run in runs_of(client) if run.data.params.get("lr") == "0.002"]
    return [step for run in runs for step, _ in history_of(client, run, "val_loss")]


@pytest.fixture
def settings_of_today(settings_of_earlier_code: dict[str, str]) -> dict[str, str]:
    """The settings with which a command of today finds that commit's cache."""
    return {"STUDY_CACHE": settings_of_earlier_code["STUDY_CACHE"]}


def test_finished_run_of_earlier_code_is_not_trained_again(
    folder: Path, settings_of_today: dict[str, str]
) -> None:
    assert "already finished" in succeed(
        "study.train", *FINISHED[:-1], cwd=folder, **settings_of_today
    )


def test_grid_of_earlier_code_is_complete(folder: Path, settings_of_today: dict[str, str]) -> None:
    assert "7 trials, 7 finished already" in succeed(
        "study.grid", *GRID, cwd=folder, **settings_of_today
    )


def test_registered_model_of_earlier_code_predicts(
    folder: Path, settings_of_today: dict[str, str]
) -> None:
    images = folder / "images"
    images.mkdir()
    Image.fromarray(prepare("demo", 64).x[0]).save(images / "a.png")
    flags = ("--model", "models:/demo@best", str(images), "--out", "out.csv")
    assert "1 image classified, 0 skipped" in succeed(
        "study.predict", *flags, cwd=folder, **settings_of_today
    )


def test_checkpoint_of_earlier_code_continues_in_its_run(
    folder: Path, settings_of_today: dict[str, str]
) -> None:
    had = epochs_of(folder)
    output = succeed("study.train", *INTERRUPTED, cwd=folder, **settings_of_today)
    assert f"continuing after epoch {had[-1]}" in output
    assert epochs_of(folder) == [1, 2, 3, 4, 5, 6]


def test_offline_record_of_earlier_code_becomes_a_run(
    folder: Path, settings_of_today: dict[str, str]
) -> None:
    trained = len(finished_of(client_of(folder)))
    succeed("study.sync", "--from", "records", cwd=folder, **settings_of_today)
    assert len(finished_of(client_of(folder))) == trained + 1
    assert "already finished" in succeed(
        "study.train", *OFFLINE[: OFFLINE.index("--out")], cwd=folder, **settings_of_today
    )


def test_spool_of_earlier_code_is_delivered(
    folder: Path, settings_of_today: dict[str, str]
) -> None:
    succeed("study.sync", cwd=folder, **settings_of_today)
    run = client_of(folder).get_run((folder / "late.txt").read_text())
    assert (run.info.status, run.data.metrics["late"]) == ("FINISHED", 0.5)
