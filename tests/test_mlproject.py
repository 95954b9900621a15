"""`mlflow run`: the project file, the parameters it passes on, and the one run it leaves."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.entities import Run

from study.config.names import make_trial_title
from study.config.trial_config import parse_value
from study.config.trial_config import TrialConfig
from study.tracking.moved_artifacts import point_to_moved_artifacts
from study.variants import resolve_config
from tests.support.commands import client_of
from tests.support.commands import ROOT
from tests.support.commands import run
from tests.support.commands import runs_of

GIVEN = {"dataset": "demo", "image_size": "32", "limit": "60", "epochs": "1", "batch_size": "16"}
GIVEN |= {"lr": "5e-5"}  # not as Python writes it


def mlflow_run(
    folder: Path, manager: str, *, entry_point: str = "main", **params: str
) -> "subprocess.CompletedProcess[str]":
    """Run the checkout with `folder` as the working directory and the place of the database."""
    flags = [word for name, value in params.items() for word in ("-P", f"{name}={value}")]
    # The entry point says `python`: with `local` that is whichever comes first
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    settings = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "smoke",
        "MLFLOW_ENV_ROOT": str(folder / "envs"),
    }
    command = ("mlflow", "run", str(ROOT), "-e", entry_point, "--env-manager", manager, *flags)
    return run(*command, cwd=folder, PATH=path, **settings)


def only_run(folder: Path) -> Run:
    (found,) = runs_of(client_of(folder))
    assert client_of(folder).get_experiment(found.info.experiment_id).name == "smoke"
    return found


def check_complete(found: Run, config: TrialConfig) -> None:
    assert found.info.status == "FINISHED"
    assert found.info.run_name == make_trial_title(config, found.data.tags["data_digest"])
    params = {name: parse_value(name, value) for name, value in found.data.params.items()}
    assert params == dataclasses.asdict(config)
    assert found.data.tags["finished"] == "true"
    assert found.data.tags["mlflow.source.type"] == "PROJECT"
    assert {"val_loss", "test_accuracy", "fit_seconds"} <= found.data.metrics.keys()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """The folder of one `mlflow run` that went well."""
    folder = tmp_path_factory.mktemp("mlproject")
    shutil.copy(empty_database, folder)
    done = mlflow_run(folder, "local", **GIVEN)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def expected() -> TrialConfig:
    flags = {name: parse_value(name, value) for name, value in GIVEN.items()}
    return resolve_config(flags.pop("dataset"), None, flags)


def test_mlflow_run_leaves_one_complete_run(trained: Path, expected: TrialConfig) -> None:
    found = only_run(trained)
    check_complete(found, expected)
    artifacts = client_of(trained).list_artifacts(found.info.run_id)
    assert {file.path for file in artifacts} >= {"config.json", "curves.png", "predictions.parquet"}


def test_repeated_mlflow_run_points_at_the_first_run(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "copy")
    point_to_moved_artifacts(f"sqlite:///{folder}/mlflow.db")
    first = only_run(folder)
    done = mlflow_run(folder, "local", **{**GIVEN, "lr": "0.00005"})
    assert done.returncode == 0, done.stderr
    figures = f"test accuracy {first.data.metrics['test_accuracy']:.4f}, run {first.info.run_id}"
    assert f"already finished: {figures}" in done.stderr
    again, second = runs_of(client_of(folder))
    assert again.info.run_id == first.info.run_id
    assert second.info.status == "FINISHED"
    assert second.data.tags["same_as"] == first.info.run_id
    assert "finished" not in second.data.tags


def test_mlflow_run_with_a_bad_parameter_fails_with_one_line(
    tmp_path: Path, empty_database: Path
) -> None:
    shutil.copy(empty_database, tmp_path)
    done = mlflow_run(tmp_path, "local", lr="abc")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if " mlflow." not in line]
    assert lines == ["error: lr='abc' is not a number"]
    assert only_run(tmp_path).info.status == "FAILED"


@pytest.mark.slow
def test_mlflow_run_of_the_grid_points_at_its_parent_run(
    tmp_path: Path, empty_database: Path
) -> None:
    shutil.copy(empty_database, tmp_path)
    given = {name: value for name, value in GIVEN.items() if name != "lr"}
    sweep = {"sweep": "lr=1e-3,5e-3 head=gap", "seeds": "1"}
    done = mlflow_run(tmp_path, "local", **given, **sweep, entry_point="grid")
    assert done.returncode == 0, done.stderr
    assert "2 trials: 2 lr x 1 head" in done.stderr
    project_run, *others = runs_of(client_of(tmp_path))
    (parent,) = (each for each in others if "study" in each.data.tags)
    assert len(others) == 3
    assert project_run.data.tags["same_as"] == parent.info.run_id
    assert [each.info.status for each in (project_run, *others)] == ["FINISHED"] * 4
    assert len({each.info.experiment_id for each in (project_run, *others)}) == 1


@pytest.mark.slow
def test_mlflow_run_with_uv_makes_its_environment(
    tmp_path: Path, empty_database: Path, expected: TrialConfig
) -> None:
    shutil.copy(empty_database, tmp_path)
    done = mlflow_run(tmp_path, "uv", **GIVEN)
    assert done.returncode == 0, done.stderr
    found = only_run(tmp_path)
    check_complete(found, expected)
    assert found.data.tags["mlflow.project.env"] == "uv"
