"""The run that `mlflow run` opened is taken over, and any other is left as it is."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.projects.utils import get_or_create_run
from mlflow.tracking import MlflowClient

from study.common.errors import TrackingRefused
from study.config.names import make_trial_title
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.job import Options
from study.tracking import connection
from study.tracking.project_run import point_to_finished_run
from study.tracking.project_run import take_grid_run
from study.tracking.project_run import take_project_run
from study.tracking.run_logger import RunLog
from study.trial.prepare import PreparedTrial
from study.trial.train_config import train_config
from tests.support.commands import ROOT
from tests.support.commands import runs_of

CONFIG = recipe("demo").replace(lr=5e-5)


@pytest.fixture
def project_run(client: MlflowClient) -> Run:
    """A run as `mlflow run . -P lr=5e-5` opens it."""
    return open_project_run(client, lr="5e-5")


def open_project_run(client: MlflowClient, *, entry_point: str = "main", **params: str) -> Run:
    connection.connect()  # MLflow's own client of this function goes there, too
    run = get_or_create_run(None, str(ROOT), "0", str(ROOT), None, entry_point, params)
    return client.get_run(run.info.run_id)


def take(client: MlflowClient, run_id: str, config: TrialConfig = CONFIG) -> str | None:
    """Take a run over as a command does in whose environment it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_RUN_ID", run_id)
        taken = take_project_run(client, config)
        assert "MLFLOW_RUN_ID" not in os.environ
    return taken


def content(run: Run) -> dict[str, Any]:
    return {**run.to_dictionary()["data"], **dict(run.info)}


def test_fresh_run_of_mlflow_run_is_taken(client: MlflowClient, project_run: Run) -> None:
    assert take(client, project_run.info.run_id) == project_run.info.run_id
    assert take(client, f" {project_run.info.run_id}\r") == project_run.info.run_id


def test_without_the_variable_no_run_is_taken(client: MlflowClient) -> None:
    assert take_project_run(client, CONFIG) is None


@pytest.mark.parametrize("path", ["/my cells", "/o'brien", "/100% of $HOME", "/a-b"])
def test_params_that_mlflow_quotes_are_those_of_the_config(client: MlflowClient, path: str) -> None:
    run_id = open_project_run(client, dataset=f"folder:{path}", **{"image-size": "64"}).info.run_id
    config = recipe(f"folder:{path}").replace(image_size=64)
    assert take(client, run_id, config) == run_id


def test_folder_that_mlflow_run_recorded_as_a_path_is_refused(client: MlflowClient) -> None:
    run_id = open_project_run(client, dataset="./my cells").info.run_id
    with pytest.raises(TrackingRefused, match=r"write -P dataset=folder:\./my cells"):
        take(client, run_id, recipe("folder:/here/my cells"))


def test_grid_takes_the_run_of_its_entry_point_alone(
    client: MlflowClient, project_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"sweep": "lr=1e-3,5e-3", "seeds": "2"}
    run_id = open_project_run(client, entry_point="grid", **params).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert take_grid_run(client) == run_id
    assert take_grid_run(client) is None
    monkeypatch.setenv("MLFLOW_RUN_ID", project_run.info.run_id)
    with pytest.raises(TrackingRefused, match="is for the entry point main: unset MLFLOW_RUN_ID"):
        take_grid_run(client)


def change(client: MlflowClient, run_id: str, what: str) -> None:
    changes = {
        "FINISHED already": lambda: client.set_terminated(run_id),
        "is deleted": lambda: client.delete_run(run_id),
        "mlflow run did not open": lambda: client.delete_tag(run_id, "mlflow.project.entryPoint"),
        "of another project": lambda: [
            client.set_tag(run_id, name, "other")
            for name in ("mlflow.source.git.commit", "mlflow.source.name")
        ],
        "was written to already": lambda: client.log_metric(run_id, "val_loss", 0.1, step=1),
        "has n_estimators=100, which is not": lambda: client.log_param(
            run_id, "n_estimators", "100"
        ),
        "has epochs=99, which is not": lambda: client.log_param(run_id, "epochs", "99"),
    }
    changes[what]()


@pytest.mark.parametrize(
    "what",
    [
        "FINISHED already",
        "is deleted",
        "mlflow run did not open",
        "of another project",
        "was written to already",
        "has n_estimators=100, which is not",
        "has epochs=99, which is not",
    ],
)
def test_any_other_run_is_refused_and_left_as_it_is(
    client: MlflowClient, project_run: Run, what: str
) -> None:
    run_id = project_run.info.run_id
    change(client, run_id, what)
    before = content(client.get_run(run_id))
    with pytest.raises(TrackingRefused, match=f"MLFLOW_RUN_ID={run_id} names a run .*{what}"):
        take(client, run_id)
    assert content(client.get_run(run_id)) == before


FIGURES = {"val_accuracy": 0.75, "test_accuracy": 0.5, "val_loss": 0.5, "test_loss": 0.5}


def record_without_training(trial: PreparedTrial, log: RunLog, *_: object) -> SimpleNamespace:
    log.log_params(trial.config.as_dict())
    log.log_metrics(FIGURES, step=0)
    log.log_tags({"finished": "true"})
    return SimpleNamespace(figures={**FIGURES, "fit_seconds": 1.0}, history=[FIGURES])


def test_train_fills_the_run_and_points_the_next_one_to_it(
    client: MlflowClient, project_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.trial.train_config.train_and_record", record_without_training)
    next_run = open_project_run(client, lr="0.00005")
    for run in (project_run, next_run):
        monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
        assert train_config(CONFIG).run_id == project_run.info.run_id
    filled = client.get_run(project_run.info.run_id)
    assert (filled.info.status, filled.info.run_name) == ("FINISHED", make_trial_title(CONFIG, ""))
    assert filled.data.params["lr"] == "5e-5"
    assert client.get_run(next_run.info.run_id).data.tags["same_as"] == filled.info.run_id
    assert len(runs_of(client)) == 2


def test_train_with_the_stale_id_of_a_finished_run_writes_nothing(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = client.create_run("0", run_name="another config").info.run_id
    client.set_terminated(stale)
    before = content(client.get_run(stale))
    monkeypatch.setenv("MLFLOW_RUN_ID", stale)
    with pytest.raises(TrackingRefused, match="is FINISHED already: unset MLFLOW_RUN_ID"):
        train_config(CONFIG)
    assert [content(run) for run in runs_of(client)] == [before]


def test_trial_of_a_study_does_not_take_the_run(
    client: MlflowClient, project_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", project_run.info.run_id)
    before = content(client.get_run(project_run.info.run_id))

    def refuse(*_: object, **__: object) -> None:
        raise InterruptedError

    monkeypatch.setattr("study.trial.train_config.prepare_trial", refuse)
    with pytest.raises(InterruptedError):
        train_config(CONFIG, Options(parent="p"))
    assert content(client.get_run(project_run.info.run_id)) == before


def test_id_that_the_server_does_not_know_is_named(client: MlflowClient) -> None:
    with pytest.raises(TrackingRefused, match="MLFLOW_RUN_ID=abc names no run at sqlite:////"):
        take(client, "abc")


def test_relative_database_of_mlflow_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: MlflowClient
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrackingRefused, match=r"names no run of sqlite:///mlflow\.db, a file in"):
        take(client, "abc")


def test_empty_run_says_which_run_has_the_figures(client: MlflowClient, project_run: Run) -> None:
    finished = client.create_run("0", run_name="the first")
    point_to_finished_run(client, project_run.info.run_id, finished)
    run = client.get_run(project_run.info.run_id)
    assert run.info.run_name == "same as the first"
    assert run.data.tags["same_as"] == finished.info.run_id
