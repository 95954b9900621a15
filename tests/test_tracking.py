"""The record: which run is written to, and that nothing is written twice."""

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from study import tracking
from study.config import recipe
from study.tracking import open_run
from study.tracking import Place
from study.tracking import TrackingError

from .commands import history_of
from .commands import runs_of

PLACE = Place("demo", "a trial", "f1")
EPOCH = {"epoch": 1.0, "loss": 0.5, "accuracy": 0.75, "val_loss": 0.25, "seconds": 2.0}


@pytest.fixture
def client(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)
    # Absolute: within a process MLflow keeps the file that a relative address first named
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tracking.connect()


def interrupt(client: MlflowClient) -> str:
    """Open a run, write an epoch, and stop as Ctrl-C does; its id."""
    try:
        with open_run(client, PLACE, resumable=True) as log:
            log.log_epoch(EPOCH)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return log.run_id


def test_the_default_is_a_file_of_the_working_directory() -> None:
    assert tracking.tracking_uri() == "sqlite:///mlflow.db"


def test_a_password_is_not_shown() -> None:
    assert tracking.shown("http://me:secret@host:5000/x") == "http://host:5000/x"
    assert tracking.shown("sqlite:///mlflow.db") == "sqlite:///mlflow.db"


def test_the_experiment_is_the_dataset_unless_it_is_named(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tracking.experiment_id(client, "demo")
    assert client.get_experiment(first).name == "demo"
    assert tracking.experiment_id(client, "demo") == first
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert client.get_experiment(tracking.experiment_id(client, "demo")).name == "mine"


def test_an_interrupted_run_is_taken_up_and_no_point_written_twice(client: MlflowClient) -> None:
    begun = interrupt(client)
    assert client.get_run(begun).info.status == "KILLED"
    with open_run(client, PLACE, resumable=True) as log:
        assert log.run_id == begun
        log.log_epoch(EPOCH)
        log.log_epoch({**EPOCH, "epoch": 2.0, "loss": 0.25})
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED"
    assert history_of(client, run, "train_loss") == [(1, 0.5), (2, 0.25)]
    assert history_of(client, run, "epoch_seconds") == [(1, 2.0), (2, 2.0)]


def test_without_its_state_an_interrupted_run_is_given_up(client: MlflowClient) -> None:
    begun = interrupt(client)
    with open_run(client, PLACE, resumable=False) as log:
        assert log.run_id != begun
    old = client.get_run(begun)
    assert old.info.status == "KILLED"
    assert "another run" in old.data.tags["given_up"]


def test_a_failed_run_is_not_taken_up(client: MlflowClient) -> None:
    with pytest.raises(ValueError, match="bad"), open_run(client, PLACE, resumable=True) as log:
        raise ValueError("bad luck\nand more")
    failed = client.get_run(log.run_id)
    assert failed.info.status == "FAILED"
    assert failed.data.tags["given_up"] == "ValueError: bad luck"
    with open_run(client, PLACE, resumable=True) as other:
        assert other.run_id != log.run_id


def test_another_config_gets_another_run(client: MlflowClient) -> None:
    begun = interrupt(client)
    with open_run(client, Place("demo", "another", "f2"), resumable=True) as log:
        assert log.run_id != begun


def test_only_a_complete_run_counts_as_finished(client: MlflowClient) -> None:
    with open_run(client, PLACE, resumable=True) as log:
        assert tracking.find_finished(client, "f1") is None
        log.log_tags({"finished": "true"})
    found = tracking.find_finished(client, "f1")
    assert found is not None
    assert found.info.run_id == log.run_id
    assert tracking.find_finished(client, "f2") is None
    client.delete_run(log.run_id)
    assert tracking.find_finished(client, "f1") is None


def test_params_may_be_there_already_as_they_were_typed(client: MlflowClient) -> None:
    config = recipe("demo").replace(lr=5e-5)
    with open_run(client, PLACE, resumable=True) as log:
        client.log_param(log.run_id, "lr", "0.00005")
        log.log_params(config.as_dict())
        log.log_params(config.as_dict())
        with pytest.raises(TrackingError, match=r"has lr=0.00005"):
            log.log_params(config.replace(lr=1e-4).as_dict())
    params = client.get_run(log.run_id).data.params
    expected = {name: str(value) for name, value in config.as_dict().items()}
    assert params == expected | {"lr": "0.00005"}


def test_a_parent_is_one_run_however_often_it_is_taken_up(client: MlflowClient) -> None:
    ids = []
    for _ in range(2):
        with tracking.parent_run(client, "demo", "grid-x", {"epochs": 3}) as parent:
            ids.append(parent)
            assert client.get_run(parent).info.status == "RUNNING"
    assert ids[0] == ids[1]
    run = client.get_run(ids[0])
    assert (run.info.status, run.data.params) == ("FINISHED", {"epochs": "3"})
    with open_run(client, Place("demo", "child", "f3", parent), resumable=True) as log:
        pass
    assert client.get_run(log.run_id).data.tags["mlflow.parentRunId"] == ids[0]


@pytest.mark.parametrize(
    ("source", "kind"),
    [("synthetic", "code"), ("https://kaggle.com/x", "http"), ("/somewhere/images", "local")],
)
def test_the_data_is_an_input(client: MlflowClient, source: str, kind: str) -> None:
    with open_run(client, PLACE, resumable=True) as log:
        log.log_dataset("folder:/somewhere/images", source, "d" * 64)
    (used,) = client.get_run(log.run_id).inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.source_type) == ("folder", kind)
    assert source in used.dataset.source
