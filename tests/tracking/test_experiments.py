"""The experiment of a data set: its name, and where its files go."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from study.common.errors import TrackingRefused
from study.tracking import experiments


def test_experiment_is_named_after_the_dataset_or_by_the_setting(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = experiments.experiment_id(client, "demo")
    assert client.get_experiment(first).name == "demo"
    assert experiments.experiment_id(client, "demo") == first
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert client.get_experiment(experiments.experiment_id(client, "demo")).name == "mine"


def test_experiment_of_a_stale_id_is_refused_by_name(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = client.create_experiment("mine")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", mine)
    assert experiments.experiment_id(client, "demo") == mine
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    with pytest.raises(TrackingRefused, match="ID=1 is the experiment 'mine', and not MLFLOW"):
        experiments.experiment_id(client, "demo")
    for unknown in ("77", "abc"):
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", unknown)
        with pytest.raises(TrackingRefused, match=f"ID={unknown} names no experiment at sqlite"):
            experiments.experiment_id(client, "demo")


def test_deleted_experiment_is_named_with_a_way_on(client: MlflowClient) -> None:
    client.delete_experiment(experiments.experiment_id(client, "demo"))
    message = r"'demo' is deleted: restore it with .* --experiment-id 1"
    with pytest.raises(TrackingRefused, match=message):
        experiments.experiment_id(client, "demo")


@pytest.mark.parametrize("name", ["a b#c", "50%20off", "why?"])
def test_experiment_id_in_a_folder_with_an_odd_name_keeps_files_there(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    run = client.create_run(experiments.experiment_id(client, "demo"))
    client.log_text(run.info.run_id, "here", "note.txt")
    assert [path.name for path in folder.glob("mlruns/**/note.txt")] == ["note.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {name, "mlflow.db"}
