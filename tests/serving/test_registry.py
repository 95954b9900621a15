"""What `--register` leaves in MLflow's registry, and when the alias `best` moves."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from study.common.errors import StudyError
from study.common.progress import Progress
from study.config.dataset_names import data_name
from study.config.trial_config import recipe
from study.data.prepare import compute_data_digest
from study.serving.registry import _move_alias_if_better
from study.serving.registry import register_model
from study.tracking.experiments import experiment_id
from tests.support.commands import client_of
from tests.support.commands import finished_of
from tests.support.commands import run_here
from tests.support.commands import runs_of
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.images import class_folders

FLAGS = (*TINY, "--epochs", "1")
REGISTER = ("--register", "--force")  # models of one epoch are no better than chance


def test_registered_version_is_the_runs_model_with_its_card(registered: Path) -> None:
    client = client_of(registered)
    (trained,) = runs_of(client)
    version = client.get_model_version_by_alias("demo", "best")
    assert (int(version.version), version.run_id) == (1, trained.info.run_id)
    (model,) = client.search_logged_models([trained.info.experiment_id])
    assert version.source == f"models:/{model.model_id}"
    assert float(version.tags["val_accuracy"]) == pytest.approx(
        trained.data.metrics["val_accuracy"], abs=1e-6
    )
    assert version.tags["data_digest"] == trained.data.tags["data_digest"]
    (card,) = registered.glob("mlruns/*/models/*/artifacts/card.md")
    assert version.description == card.read_text()
    assert "95 % interval of the accuracy on other test images" in version.description
    assert f"{trained.data.metrics['test_accuracy']:.4f}" in version.description
    assert "models:/demo@best" in (registered / "said.txt").read_text()


def test_model_registered_twice_has_one_version(registered: Path) -> None:
    client = client_of(registered)
    (trained,) = runs_of(client)
    config = recipe("demo")
    for _ in range(2):
        register_model(client, trained.info.run_id, config, "the config asked for", Progress())
    assert len(client.search_model_versions("name = 'demo'")) == 1


def create_run(client: MlflowClient, tags: Mapping[str, str]) -> str:
    experiment = experiment_id(client, "demo")
    return str(client.create_run(experiment, tags={"fingerprint": "f1", **tags}).info.run_id)


def test_run_without_a_model_is_refused_with_the_command(client: MlflowClient) -> None:
    run_id = create_run(client, {"finished": "true"})
    config = recipe("demo").replace(lr=0.01, seed=3)
    with pytest.raises(StudyError, match="without --log-model") as caught:
        register_model(client, run_id, config, "why", Progress())
    what, command = str(caught.value).splitlines()
    assert run_id in what
    flags = "--dataset demo --lr 0.01 --seed 3 --again --register"
    assert command == f"python -m study.train {flags}"
    assert client.search_registered_models() == []


def test_run_with_an_undelivered_record_is_refused_with_the_command(client: MlflowClient) -> None:
    with pytest.raises(StudyError, match=r"has not arrived .* python -m study\.sync"):
        register_model(client, create_run(client, {}), recipe("demo"), "why", Progress())


@pytest.fixture
def versions(client: MlflowClient, tmp_path: Path) -> list[ModelVersion]:
    """Of one model, with validation accuracies 0.5, 0.5, 0.4, 0.6 and one not known."""
    client.create_registered_model("cells")
    values = [{"val_accuracy": value} for value in ("0.5", "0.5", "0.4", "0.6")]
    return [
        client.create_model_version("cells", str(tmp_path), tags={"split": "pooled", **tags})
        for tags in (*values, {})
    ]


def holder(client: MlflowClient) -> int:
    return int(client.get_model_version_by_alias("cells", "best").version)


def test_alias_moves_unless_the_version_is_worse(
    client: MlflowClient, versions: list[ModelVersion], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, moves, best in ((1, True, 1), (2, True, 2), (3, False, 2), (4, True, 4)):
        assert _move_alias_if_better(client, versions[number - 1], Progress()) is moves
        assert holder(client) == best
    (line,) = capsys.readouterr().err.splitlines()
    assert line == ("the alias best stays at version 2: validation accuracy 0.5, here 0.4")


def test_alias_set_by_hand_stays(
    client: MlflowClient, versions: list[ModelVersion], capsys: pytest.CaptureFixture[str]
) -> None:
    client.set_registered_model_alias("cells", "best", versions[4].version)
    assert not _move_alias_if_better(client, versions[3], Progress())
    assert holder(client) == 5
    assert "validation accuracy unknown" in capsys.readouterr().err


def test_alias_stays_with_the_images_of_its_version(
    client: MlflowClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.create_registered_model("cells")
    versions = [
        client.create_model_version(
            "cells",
            str(tmp_path),
            tags={"split": "pooled", "val_accuracy": accuracy, "data_digest": digit * 64},
        )
        for accuracy, digit in (("0.5", "a"), ("0.9", "b"), ("0.6", "a"))
    ]
    moves = [_move_alias_if_better(client, version, Progress()) for version in versions]
    assert moves == [True, False, True]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "the alias best stays at version 1, which was trained on other images (digest aaaaaa, here "
        "bbbbbb): use another --name, or move the alias in the MLflow UI"
    )


@pytest.mark.parametrize(
    ("tags", "here"),
    [
        ({"split": "pooled", "limit": "0"}, "split pooled"),
        ({"split": "grouped", "limit": "60"}, "split grouped, limit 60"),
    ],
)
def test_alias_stays_with_the_validation_images_of_its_version(
    client: MlflowClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tags: dict[str, str],
    here: str,
) -> None:
    client.create_registered_model("cells")
    grouped = {"split": "grouped", "limit": "0", "val_accuracy": "0.9"}
    for each in (grouped, tags | {"val_accuracy": "1.0"}):
        version = client.create_model_version("cells", str(tmp_path), tags=each)
        moved = _move_alias_if_better(client, version, Progress())
    assert not moved
    assert holder(client) == 1
    assert capsys.readouterr().err == (
        "the alias best stays at version 1, which was validated on other images (split grouped, "
        f"here {here}): use another --name, or move the alias in the MLflow UI\n"
    )


def make_images_folder(path: Path, classes: str) -> str:
    """A data set called `images`, with classes of these letters."""
    return f"folder:{class_folders(path / 'images', dict.fromkeys(classes, 20))}"


def test_folders_with_one_name_register_two_models(empty_database: Path, tmp_path: Path) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    datasets = [make_images_folder(tmp_path / place, place) for place in ("ab", "xyz")]
    flags = ("--epochs", "1", "--register", "--force")
    for dataset in datasets:
        succeed_here("study.train", *TINY, "--dataset", dataset, *flags, cwd=tmp_path)
    client = client_of(tmp_path)
    names = [data_name(dataset, compute_data_digest(dataset)) for dataset in datasets]
    assert len(set(names)) == 2
    for name, dataset in zip(names, datasets, strict=True):
        version = client.get_model_version_by_alias(name, "best")
        run = client.get_run(version.run_id)
        assert run.data.params["dataset"] == dataset
        assert run.info.run_name.startswith(f"{name} · ")


def test_model_of_earlier_code_stays_and_the_new_name_is_said(
    empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    dataset = make_images_folder(tmp_path, "ab")
    client = client_of(tmp_path)
    client.create_registered_model("images")
    tags = {"data_digest": compute_data_digest(dataset)}
    earlier = client.create_model_version("images", str(tmp_path), tags=tags)
    client.set_registered_model_alias("images", "best", earlier.version)
    flags = (*TINY, "--dataset", dataset, "--epochs", "1", "--register", "--force")
    output = succeed_here("study.train", *flags, cwd=tmp_path)
    name = data_name(dataset, compute_data_digest(dataset))
    assert f"stay under the name images; new ones go under {name}" in output
    assert len(client.search_model_versions("name = 'images'")) == 1
    assert client.get_model_version_by_alias(name, "best").run_id
    output = succeed_here("study.train", *flags, "--name", "cells", cwd=tmp_path)
    assert "models:/cells@best" in output


@pytest.mark.slow
def test_grid_with_register_registers_its_best_model(empty_database: Path, tmp_path: Path) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    output = succeed_here("study.grid", *FLAGS, *REGISTER, cwd=tmp_path)
    client = client_of(tmp_path)
    version = client.get_model_version_by_alias("demo", "best")
    values = {r.info.run_id: r.data.metrics["val_accuracy"] for r in finished_of(client)}
    assert len(values) == 7
    assert values[version.run_id] == max(values.values())
    # So short a training may leave all alike: "the first of 7 that tie for the best of 7 variants"
    assert "the best of 7 variants (by mean validation accuracy)" in version.description
    assert "model demo, version 1" in output


@pytest.mark.slow
def test_grid_without_models_registers_after_retraining_the_best(
    empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    succeed_here("study.grid", *FLAGS, cwd=tmp_path)
    refused = run_here("study.grid", *FLAGS, *REGISTER, cwd=tmp_path)
    assert refused.returncode == 2
    command = refused.stderr.splitlines()[-1].split()
    assert command[:3] == ["python", "-m", "study.train"]
    succeed_here("study.train", *command[3:], "--force", cwd=tmp_path)
    assert "version 1" in succeed_here("study.grid", *FLAGS, *REGISTER, cwd=tmp_path)


@pytest.mark.slow
def test_search_with_register_registers_its_confirmed_best(
    empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    flags = ("--trials", "2", "--confirm", "2", "--epochs", "1", "--limit", "80", *REGISTER)
    succeed_here("study.tpe", "--dataset", "demo", *flags, cwd=tmp_path)
    client = client_of(tmp_path)
    version = client.get_model_version_by_alias("demo", "best")
    runs = finished_of(client)
    winner = client.get_run(version.run_id)
    confirming = {
        run.info.run_id: run.data.metrics["val_accuracy"]
        for run in runs
        if run.data.tags.get("role") == "confirm"
        and run.data.tags["variant"] == winner.data.tags["variant"]
    }
    assert len(confirming) == 2
    assert confirming[version.run_id] == max(confirming.values())
    logged = client.search_logged_models([runs[0].info.experiment_id])
    assert {model.source_run_id for model in logged} == set(confirming)  # no others' are kept
    assert "of 2 trainings with fresh seeds" in version.description
