"""A real server that goes away while a real trial runs: nothing is lost, nothing comes twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.progress import Progress
from study.common.settings import server_patience
from study.sync import main
from study.tracking import operations
from study.tracking import spool
from study.tracking.deliver_records import sync_spool
from study.tracking.journal import OPERATIONS
from study.tracking.operations import Operation
from study.tracking.parent_run import closing_parent_run
from study.tracking.parent_run import open_parent_run
from study.tracking.parent_run import StudySpec
from study.trial.train_config import _deliver_and_find_runs
from tests.support.commands import count_saved_epochs
from tests.support.commands import finish
from tests.support.commands import history_of
from tests.support.commands import refusal
from tests.support.commands import runs_of
from tests.support.commands import start
from tests.support.commands import succeed
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.commands import wait_until
from tests.support.servers import new_server
from tests.support.servers import Server

EPOCHS = 7
FLAGS = (*TINY, "--epochs", str(EPOCHS))
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "epoch_seconds")
SECRET = "s3cret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    server = new_server(tmp_path_factory.mktemp("server"), empty_database)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def alone(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    succeed("study.train", *FLAGS, cwd=folder, MLFLOW_TRACKING_URI=server.uri)
    assert list(folder.iterdir()) == []  # all is on the server
    (found,) = runs_of(server.client)
    return found


def test_finished_config_on_a_server_is_not_trained_again(
    server: Server, alone: Run, tmp_path: Path
) -> None:
    assert alone.data.tags["finished"] == "true"
    names = {file.path for file in server.client.list_artifacts(alone.info.run_id)}
    assert names == {"config.json", "history.csv", "predictions.parquet", "curves.png"}
    said = succeed_here("study.train", *FLAGS, cwd=tmp_path, MLFLOW_TRACKING_URI=server.uri)
    assert "already finished" in said
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session_cache: Path) -> Path:
    """A cache of the test's own, with the images of the session's."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for path in session_cache.iterdir():
        if path.name not in ("trials", "spool"):
            (folder / path.name).symlink_to(path)
    monkeypatch.setenv("STUDY_CACHE", str(folder))
    return folder


def start_trial(server: Server, folder: Path, *flags: str) -> "subprocess.Popen[str]":
    """A trial that has recorded an epoch, of a user whose address holds a password."""
    known = {found.info.run_id for found in runs_of(server.client)}
    process = start(
        *("study.train", *FLAGS, "--again", *flags),
        cwd=folder,
        MLFLOW_TRACKING_URI=server.uri.replace("//", f"//me:{SECRET}@"),
        STUDY_PATIENCE="0.5",
        MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL="0.3",
    )

    def begun() -> bool:
        new = [found for found in runs_of(server.client) if found.info.run_id not in known]
        return bool(new) and "val_loss" in new[0].data.metrics

    wait_until(begun, process)
    return process


def last_run(server: Server) -> Run:
    return runs_of(server.client)[-1]


def check_points(server: Server, run: Run) -> None:
    for name in CURVES:
        steps = [step for step, _ in history_of(server.client, run, name)]
        assert steps == list(range(1, EPOCHS + 1)), name


def assert_same_run(server: Server, run: Run, alone: Run) -> None:
    """Two runs tell the same, but for what is of its own time."""
    client = server.client
    check_points(server, run)
    assert run.info.status == "FINISHED"
    assert run.data.params == alone.data.params
    assert run.data.tags == alone.data.tags
    assert run.data.metrics.keys() >= {n for n in alone.data.metrics if "system/" not in n}
    for name in (*CURVES[:4], "test_loss", "test_accuracy", "dead_units", "epochs_run"):
        assert history_of(client, run, name) == history_of(client, alone, name)
    assert [used.dataset for used in run.inputs.dataset_inputs] == [
        used.dataset for used in alone.inputs.dataset_inputs
    ]
    names = [{file.path for file in client.list_artifacts(r.info.run_id)} for r in (run, alone)]
    assert (
        names[0] == names[1] == {"config.json", "history.csv", "predictions.parquet", "curves.png"}
    )
    tables = [
        pd.read_parquet(client.download_artifacts(r.info.run_id, "predictions.parquet"))
        for r in (run, alone)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def texts_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_server_back_during_the_trial_gets_all_in_order(
    server: Server, alone: Run, cache: Path, tmp_path: Path
) -> None:
    process = start_trial(server, tmp_path)
    server.kill()
    try:
        down_since = count_saved_epochs(cache)
        wait_until(lambda: count_saved_epochs(cache) >= down_since + 1, process)
        process.send_signal(signal.SIGSTOP)  # or the trial may end before the server is up
        server.start()
        process.send_signal(signal.SIGCONT)
        done = finish(process)
    finally:
        process.kill()
        server.start()
    assert done.returncode == 0, done.stderr
    assert down_since + 1 < EPOCHS
    assert SECRET not in done.stderr
    assert spool.list_spools() == []
    found = last_run(server)
    assert_same_run(server, found, alone)
    beats = [
        step for step, _ in history_of(server.client, found, "system/cpu_utilization_percentage")
    ]
    assert beats == list(range(len(beats)))  # without a gap
    assert len(beats) > 2


def test_server_back_after_the_trial_gets_all_from_sync(
    server: Server,
    alone: Run,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process = start_trial(server, tmp_path, "--log-model")
    settings = {"MLFLOW_TRACKING_URI": server.uri}
    server.kill()
    try:
        done = finish(process)
        assert done.returncode == 0, done.stderr
        assert "test accuracy" in done.stderr
        (line,) = [text for text in done.stderr.splitlines() if "study.sync" in text]
        (folder,) = spool.list_spools()
        assert str(folder.parent) in line
        assert not list((cache / "trials").glob("*/*"))
        lines = (folder / OPERATIONS).read_text().splitlines()
        assert [json.loads(text)["kind"] for text in lines[-2:]] == ["batch", "end"]
        assert SECRET.encode() not in texts_of(folder) + done.stderr.encode()
        assert b"127.0.0.1" not in texts_of(folder)

        monkeypatch.setattr(sys, "argv", ["study.sync"])
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        assert refusal(main, capsys).endswith("1 run still to deliver, nothing is lost\n")
        assert spool.list_spools() == [folder]
    finally:
        process.kill()
        server.start()
    two = [start("study.sync", cwd=tmp_path, **settings) for _ in range(2)]
    assert [finish(process).returncode for process in two] == [0, 0]
    assert sync_spool() == "nothing to deliver"
    found = last_run(server)
    assert_same_run(server, found, alone)
    check_model(server, found)
    assert SECRET.encode() not in texts_of(server.folder)


def check_model(server: Server, run: Run) -> None:
    assert run.outputs is not None
    (output,) = run.outputs.model_outputs
    model = server.client.get_logged_model(output.model_id)
    assert (model.name, str(model.status)) == ("model", "READY")


def freeze(server: Server, sign: signal.Signals) -> None:
    """Stop all of a server's processes, or have them go on."""
    assert server.process is not None
    os.killpg(server.process.pid, sign)


@pytest.mark.usefixtures("cache")
def test_second_ctrl_c_ends_the_command_at_once(server: Server, tmp_path: Path) -> None:
    process = start_trial(server, tmp_path, "--seed", "8")
    assert process.stderr is not None
    freeze(server, signal.SIGSTOP)  # so that the end has to wait
    try:
        process.send_signal(signal.SIGINT)
        said = next(line for line in process.stderr if "a second Ctrl-C ends at once" in line)
        process.send_signal(signal.SIGINT)
        done = finish(process)
    finally:
        process.kill()
        freeze(server, signal.SIGCONT)
    assert done.returncode == 130
    assert (said, done.stderr) == ("stopping; a second Ctrl-C ends at once\n", "")
    assert spool.list_spools() == []  # it did not come to that


@pytest.fixture
def spooled(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A spool of many operations; the id of its run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    run_id = str(server.client.create_run("0").info.run_id)
    files = cache.with_name("files")
    files.mkdir()
    (files / "a.txt").write_text("a")
    steps = [operations.metrics({"loss": 1 / n}, 1_700_000_000_000 + n, n) for n in range(1, 401)]
    end = Operation("end", {"status": "FINISHED", "time": 1_700_000_001_000})
    finished = operations.tags({"finished": "true"})
    spool.save_spool(run_id, [*steps, Operation("files", folder=files), finished, end])
    return run_id


def test_sync_killed_and_repeated_delivers_all_once(
    server: Server, spooled: str, tmp_path: Path
) -> None:
    killed = start("study.sync", cwd=tmp_path, MLFLOW_TRACKING_URI=server.uri)
    wait_until(lambda: "loss" in server.client.get_run(spooled).data.metrics, killed)
    killed.kill()
    finish(killed)
    assert killed.returncode == -signal.SIGKILL
    assert "finished" not in server.client.get_run(spooled).data.tags
    assert sync_spool() == "1 run delivered"
    found = server.client.get_run(spooled)
    assert found.info.status == "FINISHED"
    points = history_of(server.client, found, "loss")
    assert points == [(n, 1 / n) for n in range(1, 401)]
    assert [file.path for file in server.client.list_artifacts(spooled)] == ["a.txt"]
    assert spool.list_spools() == []


@pytest.mark.usefixtures("cache")
def test_spool_of_another_server_is_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    spool.save_spool("a" * 32, [operations.tags({"finished": "true"})])
    with pytest.raises(StudyError, match="does not know 1 run: set MLFLOW_TRACKING_URI"):
        sync_spool()
    assert len(spool.list_spools()) == 1


def test_spool_that_mlflow_refuses_is_put_aside(
    server: Server, spooled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.client.delete_run(spooled)
    with pytest.raises(StudyError, match="0 runs delivered, 1 run refused"):
        sync_spool()
    (kept,) = spool.refused_folder().iterdir()
    line = capsys.readouterr().err
    assert line.startswith(f"MLflow refuses the record of run {spooled}: ")
    assert line.endswith(f"kept in {kept}\n")
    assert line.count("\n") == 1
    assert spool.list_spools() == []


def test_parent_run_ending_without_a_server_is_spooled(
    client: MlflowClient, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_PATIENCE", "0")
    monkeypatch.setattr(client, "set_terminated", raise_connection_refused)
    run = open_parent_run(client, StudySpec("demo", "a study", "its title", {}))
    said = [operations.tags({"said": "at the end"})]
    with closing_parent_run(client, run) as study_run:
        study_run.write(said)
    parent = study_run.id
    assert client.get_run(parent).info.status == "RUNNING"
    assert client.get_run(parent).data.tags["said"] == "at the end"
    assert [path.parent for path in spool.list_spools()] == [cache / "spool"]
    monkeypatch.undo()
    monkeypatch.setenv("STUDY_CACHE", str(cache))
    assert spool.flush_spool(client).delivered == [parent]
    assert client.get_run(parent).info.status == "FINISHED"


@pytest.mark.usefixtures("cache")
def test_spool_that_fails_for_now_stops_no_other(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (str(client.create_run("0").info.run_id) for _ in range(2))
    spool.save_spool(first, [Operation("end", {"status": "FINISHED", "time": 1})])
    spool.save_spool(second, [operations.tags({"a": "b"})])
    monkeypatch.setattr(client, "set_terminated", raise_connection_refused)
    report = spool.flush_spool(client)
    assert report.delivered == [second]
    assert report.waiting == {first: "API request failed with exception: Connection refused"}
    assert [path.name.split("-")[1] for path in spool.list_spools()] == [first]
    client.set_tag(first, "fingerprint", "f1")
    with pytest.raises(TrackingError, match=f"run {first} waits on this machine"):
        _deliver_and_find_runs(client, "f1")
    _deliver_and_find_runs(client, "f2")


@pytest.mark.usefixtures("cache")
def test_spools_of_one_run_arrive_in_the_order_of_writing(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = str(client.create_run("0").info.run_id)
    for number, status in enumerate(("KILLED", "FINISHED"), start=1):
        end = Operation("end", {"status": status, "time": number})
        spool.save_spool(run_id, [operations.tags({"note": status}), end])
    set_terminated = client.set_terminated

    def fail_once(*_: object) -> None:
        monkeypatch.setattr(client, "set_terminated", set_terminated)
        raise_connection_refused()

    monkeypatch.setattr(client, "set_terminated", fail_once)
    assert list(spool.flush_spool(client).waiting) == [run_id]
    assert len(spool.list_spools()) == 2
    assert spool.flush_spool(client).delivered == [run_id, run_id]
    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time) == ("FINISHED", 2)
    assert run.data.tags["note"] == "FINISHED"


def test_spools_that_another_process_delivers_are_waited_for_with_a_line(
    client: MlflowClient, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = str(client.create_run("0").info.run_id)
    spool.save_spool(run_id, [operations.tags({"a": "b"})])
    root = cache / "spool"
    lines: list[str] = []
    lock = filelock.FileLock(root / "delivery.lock")
    lock.acquire()

    def note_and_release(_: Progress, text: str) -> None:
        lines.append(text)
        lock.release()

    monkeypatch.setattr(Progress, "say", note_and_release)
    assert spool.flush_spool(client).delivered == [run_id]
    assert lines == [f"another process delivers the records in {root}: waiting for it to end"]


def test_spool_left_unfinished_is_removed_once_nobody_can_be_writing_it(
    client: MlflowClient, cache: Path
) -> None:
    root = cache / "spool"
    yesterday = time.time_ns() - 90_000 * 10**9
    old, new = (root / f"{when}-{'a' * 32}.part" for when in (yesterday, time.time_ns()))
    for folder in (old, new):
        folder.mkdir(parents=True)
    assert spool.flush_spool(client).delivered == []
    assert [path for path in (old, new) if path.exists()] == [new]


def raise_connection_refused(*_: object) -> None:
    raise MlflowException("API request failed with exception: Connection refused")


@pytest.mark.usefixtures("cache")
def test_spool_not_written_whole_does_not_exist(tmp_path: Path) -> None:
    missing = Operation("files", folder=tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        spool.save_spool("a" * 32, [operations.tags({"a": "b"}), missing])
    assert spool.list_spools() == []
    assert sync_spool() == "nothing to deliver"


def test_spool_is_on_the_disk_under_its_last_name(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cache / "spool"
    names: list[set[str]] = []  # in the folder of spools, each time that it was synced

    def note(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), root.stat()):
            names.append({path.name for path in root.iterdir()})

    monkeypatch.setattr(os, "fsync", note)
    folder = spool.save_spool("a" * 32, [operations.tags({"a": "b"})])
    assert names[-1] == {folder.name}


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_bad_patience_setting_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("STUDY_PATIENCE", text)
    with pytest.raises(ConfigError, match=f"STUDY_PATIENCE='{text}'"):
        server_patience()


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_trial_stopped_without_a_server_continues_later(server: Server, tmp_path: Path) -> None:
    process = start_trial(server, tmp_path, "--seed", "7")
    server.kill()
    try:
        process.send_signal(signal.SIGINT)
        done = finish(process)
    finally:
        process.kill()
        server.start()
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert len(spool.list_spools()) == 1
    again = succeed(
        "study.train", *FLAGS, "--seed", "7", cwd=tmp_path, MLFLOW_TRACKING_URI=server.uri
    )
    assert "continuing after epoch" in again
    assert spool.list_spools() == []
    found = last_run(server)
    assert (found.info.status, found.data.tags["finished"]) == ("FINISHED", "true")
    check_points(server, found)
