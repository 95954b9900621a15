"""Training where there is no MLflow, killed on the way, and its records brought to MLflow."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from study import offline
from study.config.sweep import Sweep
from study.config.trial_config import recipe
from study.job import Options
from study.offline_job import Job
from study.offline_job import train_job
from study.tracking import import_offline
from study.tracking.deliver_records import sync_folder
from study.tracking.journal import Journal
from study.tracking.journal import OPERATIONS
from study.tracking.operations import Operation
from tests.support.commands import client_of
from tests.support.commands import finish
from tests.support.commands import finished_of
from tests.support.commands import history_of
from tests.support.commands import JAX
from tests.support.commands import refusal
from tests.support.commands import ROOT
from tests.support.commands import run
from tests.support.commands import runs_of
from tests.support.commands import start
from tests.support.commands import succeed
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.commands import wait_until

EPOCHS = 5
FLAGS = (*TINY, "--epochs", str(EPOCHS), "--variant", "1", "--out", "records")
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
BARE = JAX | {"PYTHONPATH": f"{ROOT / 'tests' / 'support' / 'bare'}:{ROOT}"}


def start_offline(folder: Path) -> "subprocess.Popen[str]":
    return start("study.offline", *FLAGS, cwd=folder, **BARE)


def epochs_of(folder: Path) -> list[int]:
    """The epochs that the one record of a folder holds."""
    found = list((folder / "records").glob(f"*/{OPERATIONS}"))
    operations = Journal(found[0].parent).operations if found else []
    points = [point for each in operations for point in each.body.get("metrics", ())]
    return [step for name, _, _, step in points if name == "val_loss"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed after an epoch, stopped by the time, then finished: without MLflow and TensorFlow."""
    folder = tmp_path_factory.mktemp("offline")
    process = start_offline(folder)
    wait_until(lambda: bool(epochs_of(folder)), process)
    process.send_signal(signal.SIGKILL)
    finish(process)
    (folder / "killed.json").write_text(json.dumps(epochs_of(folder)))
    stopped = run("study.offline", *FLAGS, "--minutes", "1e-6", cwd=folder, **BARE)
    (folder / "stopped.txt").write_text(f"{stopped.returncode}\n{stopped.stderr}")
    (folder / "finished.txt").write_text(succeed("study.offline", *FLAGS, cwd=folder, **BARE))
    return folder


def test_bare_environment_lacks_mlflow_optuna_and_tensorflow() -> None:
    for name in ("mlflow", "optuna", "tensorflow", "dotenv"):
        command = [sys.executable, "-c", f"import {name}"]
        done = subprocess.run(command, env=BARE, capture_output=True, text=True)
        assert "ModuleNotFoundError" in done.stderr


def test_offline_run_out_of_time_exits_3_and_says_so(trained: Path) -> None:
    code, *lines = (trained / "stopped.txt").read_text().splitlines()
    assert code == "3"
    assert lines[-1] == (
        "0 of 1 finished in records; the time is up: repeat the command to continue"
    )


def test_offline_trial_killed_continues_from_its_last_epoch(trained: Path) -> None:
    killed = json.loads((trained / "killed.json").read_text())
    assert 1 <= len(killed) < EPOCHS
    assert epochs_of(trained) == list(range(1, EPOCHS + 1))
    lines = (trained / "finished.txt").read_text().splitlines()
    assert any("continuing after epoch" in line for line in lines)
    assert lines[-1] == (
        "1 of 1 finished in records; deliver them to MLflow: python -m study.sync --from records"
    )


def test_finished_offline_record_keeps_no_checkpoint(trained: Path) -> None:
    (folder,) = [path for path in (trained / "records").iterdir() if path.is_dir()]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        Journal(folder).operations[-4].folder.name  # type: ignore[union-attr]
    ]


@pytest.fixture
def records(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "records", tmp_path / "records")


@pytest.fixture
def run_of(client: MlflowClient, records: Path) -> Run:
    """The run that the record became."""
    assert sync_folder(records) == "1 run delivered, 0 there already"
    (found,) = finished_of(client)
    return found


def test_imported_run_is_as_if_trained_beside_mlflow(
    run_of: Run, client: MlflowClient, records: Path
) -> None:
    data, info = run_of.data, run_of.info
    assert info.status == "FINISHED"
    assert info.run_name.startswith("demo · GAP·D(8) · 1e-3 · seed 0")
    assert data.tags.keys() >= {"dataset", "split", "variant", "fingerprint", "machine", "sizes"}
    assert data.tags["backend"] == "jax"
    assert data.tags.keys() >= {"backend_version", "keras_version", "device"}
    assert data.params["epochs"] == str(EPOCHS)
    assert data.metrics.keys() >= {"test_accuracy", "fit_seconds", "total_seconds", "dead_units"}
    assert [step for step, _ in history_of(client, run_of, "train_loss")] == [1, 2, 3, 4, 5]
    (folder,) = [path for path in records.iterdir() if path.is_dir()]
    begin, *_, end = Journal(folder).operations
    assert (info.start_time, info.end_time) == (begin.body["time"], end.body["time"])
    times = [m.timestamp for m in client.get_metric_history(info.run_id, "val_loss")]
    assert sorted(times) == times
    assert info.start_time <= times[0] <= times[-1] <= info.end_time
    predictions = pd.read_parquet(client.download_artifacts(info.run_id, "predictions.parquet"))
    assert np.isfinite(predictions["p_monocyte"]).all()


def test_imported_run_has_the_grids_parent_run(run_of: Run, client: MlflowClient) -> None:
    parent = client.get_run(run_of.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["study"].startswith(f"grid-demo-32px-{EPOCHS}ep-")
    assert parent.info.status == "KILLED"  # until study.grid finds it complete


@pytest.mark.usefixtures("run_of")
def test_record_imported_twice_makes_one_run(client: MlflowClient, records: Path) -> None:
    assert sync_folder(records) == "0 runs delivered, 1 there already"
    assert len(finished_of(client)) == 1


def test_interrupted_import_is_completed_in_the_same_run(
    client: MlflowClient, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver, done = import_offline.write_operation, []

    def dying(client: MlflowClient, run_id: str, operation: Operation) -> None:
        if len(done) == 6:
            raise KeyboardInterrupt
        done.append(operation)
        deliver(client, run_id, operation)

    with monkeypatch.context() as patch:
        patch.setattr(import_offline, "write_operation", dying)
        with pytest.raises(KeyboardInterrupt):
            sync_folder(records)
    assert finished_of(client) == []
    (parent,) = [each for each in runs_of(client) if "study" in each.data.tags]
    assert parent.info.status == "KILLED"  # however the import ended
    assert sync_folder(records) == "1 run delivered, 0 there already"
    (run,) = finished_of(client)
    (parent,) = [each for each in runs_of(client) if each.info.run_id != run.info.run_id]
    assert parent.info.status == "KILLED"  # not running: until study.grid finds it complete
    assert len(history_of(client, run, "val_loss")) == EPOCHS
    assert len(history_of(client, run, "test_loss")) == 1


def test_parent_run_that_a_killed_import_left_running_is_closed_by_the_next(
    run_of: Run, client: MlflowClient, records: Path
) -> None:
    parent = run_of.data.tags["mlflow.parentRunId"]
    client.update_run(parent, status="RUNNING")
    assert sync_folder(records) == "0 runs delivered, 1 there already"
    assert client.get_run(parent).info.status == "KILLED"
    client.set_terminated(parent, "FINISHED")
    sync_folder(records)
    assert client.get_run(parent).info.status == "FINISHED"


def test_record_that_another_call_finished_meanwhile_is_left_as_it_is(records: Path) -> None:
    (folder,) = [path for path in records.iterdir() if path.is_dir()]
    before = (folder / OPERATIONS).read_bytes()
    train_job(Job(recipe("demo"), "a title", folder.name, records, {}, Options()))
    assert (folder / OPERATIONS).read_bytes() == before


def test_unfinished_record_is_not_imported(client: MlflowClient, records: Path) -> None:
    (folder,) = [path for path in records.iterdir() if path.is_dir()]
    lines = (folder / OPERATIONS).read_bytes().splitlines(keepends=True)
    (folder / OPERATIONS).write_bytes(b"".join(lines[:-1]))
    assert sync_folder(records) == "0 runs delivered, 0 there already, 1 not finished yet"
    assert runs_of(client) == []


def test_imported_run_counts_as_finished_for_train_and_export(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "records", tmp_path / "records")
    succeed_here("study.sync", "--from", "records", cwd=tmp_path)
    succeed_here("pipelines.export", "--dataset", "demo", cwd=tmp_path)
    again = succeed_here("study.train", *TINY, "--epochs", str(EPOCHS), cwd=tmp_path)
    assert "already finished" in again
    assert len(finished_of(client_of(tmp_path))) == 1


TWO = (*TINY, "--epochs", "2", "--variant", "7,1")


def figures_of(folder: Path) -> dict[str, list[object]]:
    """All metrics and the predictions in the records of a folder, by fingerprint; no times."""
    found = {}
    for file in folder.glob(f"*/{OPERATIONS}"):
        operations = Journal(file.parent).operations
        points = [
            (name, step, value)
            for each in operations
            for name, value, _, step in each.body.get("metrics", ())
            if "second" not in name
        ]
        (predictions,) = file.parent.glob("*/predictions.parquet")
        found[file.parent.name] = [points, pd.read_parquet(predictions).to_dict()]
    return found


@pytest.fixture(scope="module")
def records_of_two_workers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two variants trained at once; the folder and what was printed."""
    folder = tmp_path_factory.mktemp("workers")
    flags = (*TWO, "--workers", "2", "--out", "two")
    return folder, succeed("study.offline", *flags, cwd=folder, **BARE)


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_two_workers_give_the_records_of_one_bit_for_bit(
    records_of_two_workers: tuple[Path, str],
) -> None:
    folder, _ = records_of_two_workers
    flags = (*TWO, "--out", "one")
    os.sched_setaffinity(0, CORES[:1])  # of the command, too, which inherits it
    try:
        succeed("study.offline", *flags, cwd=folder, **BARE)
    finally:
        os.sched_setaffinity(0, CORES)
    alone, together = figures_of(folder / "one"), figures_of(folder / "two")
    assert len(alone) == 2
    assert together == alone


def test_offline_variants_start_in_the_order_of_the_flag(
    records_of_two_workers: tuple[Path, str],
) -> None:
    _, output = records_of_two_workers
    titles = {line.split(" ")[0]: line for line in output.splitlines() if " · seed 0" in line}
    assert "· 1e-2 ·" in titles["[1/2]"]  # variant 7's rate, ten times the recipe's
    assert "· 1e-3 ·" in titles["[2/2]"]


@pytest.mark.parametrize("flag", ["--minutes=0", "--variant=9", "--seeds=0", "--lr=1"])
def test_offline_refuses_a_wrong_flag_before_it_starts_a_worker(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flag: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["study.offline", "--out", "records", flag])
    monkeypatch.setattr(offline, "make_local_workers", lambda *_: pytest.fail("a worker starts"))
    refusal(offline.main, capsys)


def test_killed_worker_fails_its_own_config_alone(tmp_path: Path) -> None:
    flags = (*TINY, "--epochs", "4", "--variant", "1,6,7", "--workers", "2", "--out", "records")
    process = start("study.offline", *flags, cwd=tmp_path, **BARE)
    folder = tmp_path / "records"
    wait_until(lambda: any(folder.glob("*/state/state.npz")), process)
    training = [child for child in psutil.Process(process.pid).children(recursive=True)
                if "spawn_main" in " ".join(child.cmdline())]  # fmt: skip
    training[0].kill()
    done = finish(process)
    assert done.returncode == 2
    assert "2 of 3 finished in records, 1 failed" in done.stderr
    assert "its process crashed or was killed" in done.stderr
    again = succeed("study.offline", *flags, cwd=tmp_path, **BARE)
    assert "3 of 3 finished in records" in again


def test_offline_sweep_comes_under_the_parent_run_of_the_grid(
    empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    flags = (*TINY, "--epochs", "1", "--limit", "60")
    for rate in ("5e-3", "1e-3"):
        sweep = ("--sweep", f"lr={rate} head=gap", "--out", "records")
        said = succeed_here("study.offline", *flags, *sweep, cwd=tmp_path)
        assert "1 trial: 1 lr x 1 head\n" in said
    succeed_here("study.sync", "--from", "records", cwd=tmp_path)
    client = client_of(tmp_path)
    (parent,) = (each for each in runs_of(client) if "study" in each.data.tags)
    parents = [each.data.tags["mlflow.parentRunId"] for each in finished_of(client)]
    assert parents == [parent.info.run_id] * 2
    sweep_tag = Sweep.from_json(parent.data.tags["sweep"])
    assert sweep_tag == Sweep({"lr": (5e-3, 1e-3), "head": ("gap",)}, {"lr": 5e-3, "head": "gap"})
    again = succeed_here("study.grid", *flags, "--sweep", "lr=1e-3,5e-3 head=gap", cwd=tmp_path)
    assert "2 trials, 2 finished already" in again
    (parent,) = (each for each in runs_of(client) if "study" in each.data.tags)
    assert parent.info.status == "FINISHED"
