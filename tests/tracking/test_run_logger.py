"""What a trial writes gets into its run, and waits for nobody."""

import contextlib
import dataclasses
import shlex
import sqlite3
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from study.common.errors import TrackingError
from study.config.trial_config import recipe
from study.tracking.experiments import experiment_id
from study.tracking.run_logger import strip_shell_quotes
from study.tracking.trial_run import open_run
from study.tracking.trial_run import RunSpec
from tests.support.commands import history_of
from tests.support.commands import runs_of

PLACE = RunSpec("demo", "a trial", "f1")
EPOCH = {"epoch": 1.0, "loss": 0.5, "accuracy": 0.75, "val_loss": 0.25, "seconds": 2.0}


def test_params_already_logged_in_another_spelling_are_accepted(client: MlflowClient) -> None:
    config = recipe("folder:/my cells").replace(lr=5e-5)
    opened = client.create_run(experiment_id(client, "demo")).info.run_id
    client.log_param(opened, "lr", "0.00005")
    client.log_param(opened, "dataset", "'folder:/my cells'")  # as `mlflow run` quotes it
    spec = dataclasses.replace(PLACE, project_run=opened)
    with open_run(client, spec, resumable=True) as log:
        log.log_params(config.as_dict())
        log.log_params(config.as_dict())
        with pytest.raises(TrackingError, match=r"has lr=0.00005"):
            log.log_params(config.replace(lr=1e-4).as_dict())
    assert log.run_id == opened
    params = client.get_run(log.run_id).data.params
    expected = {name: str(value) for name, value in config.as_dict().items()}
    assert params == expected | {"lr": "0.00005", "dataset": "'folder:/my cells'"}


@pytest.mark.parametrize(
    "text", ["plain", "my cells", "o'brien", "100% of $HOME", 'a "b" `c`', "'", "", "'quoted'"]
)
def test_strip_shell_quotes_gives_back_what_was_quoted(text: str) -> None:
    assert strip_shell_quotes(shlex.quote(text)) == text


@pytest.mark.parametrize("text", ["plain", "my cells", "folder:/o'brien", "0.00005"])
def test_strip_shell_quotes_leaves_a_text_that_is_not_quoted(text: str) -> None:
    assert strip_shell_quotes(text) == text


def test_one_folder_may_be_typed_in_two_ways(client: MlflowClient) -> None:
    config = recipe("folder:/data/images")
    opened = client.create_run(experiment_id(client, "demo")).info.run_id
    client.log_param(opened, "dataset", "folder:./images")
    spec = dataclasses.replace(PLACE, project_run=opened)
    with open_run(client, spec, resumable=True) as log:
        log.log_params(config.as_dict())
        with pytest.raises(TrackingError, match=r"has dataset=folder:\./images"):
            log.log_params(recipe("demo").as_dict())
    assert client.get_run(opened).data.params["dataset"] == "folder:./images"


@pytest.mark.parametrize(
    ("source", "kind"),
    [("synthetic", "code"), ("https://kaggle.com/x", "http"), ("/somewhere/images", "local")],
)
def test_data_set_is_logged_as_input_with_its_source(
    client: MlflowClient, source: str, kind: str
) -> None:
    with open_run(client, PLACE, resumable=True) as log:
        log.log_dataset("folder:/somewhere/images", source, "d" * 64)
    (used,) = client.get_run(log.run_id).inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.source_type) == ("folder", kind)
    assert source in used.dataset.source


def test_folder_of_the_run_log_is_uploaded_and_removed(client: MlflowClient) -> None:
    with open_run(client, PLACE, resumable=True) as log:
        folder = log.new_folder()
        (folder / "a.txt").write_text("a")
        log.log_folder(folder)
    assert not Path(folder).exists()
    assert [file.path for file in client.list_artifacts(log.run_id)] == ["a.txt"]


def test_logging_does_not_wait_for_a_locked_database(client: MlflowClient, tmp_path: Path) -> None:
    with open_run(client, PLACE, resumable=True) as log:
        with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            for number in (1.0, 2.0, 3.0):
                log.log_epoch({**EPOCH, "epoch": number})
        log.log_tags({"finished": "true"})
    (run,) = runs_of(client)
    assert [step for step, _ in history_of(client, run, "train_loss")] == [1, 2, 3]
