"""A project's folder that was moved or copied, with the files of its runs."""

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from study.common.errors import StudyError
from study.tracking.connection import connect
from study.tracking.moved_artifacts import find_old_folders
from study.tracking.moved_artifacts import point_to_moved_artifacts


@pytest.fixture
def old(client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one run that has a file."""
    project = tmp_path / "old"
    project.mkdir()
    shutil.move(tmp_path / "mlflow.db", project)
    location = str(project / "mlruns" / "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    client = connect()
    experiment = client.create_experiment("demo", artifact_location=location)
    assert experiment == "1"
    client.log_text(client.create_run(experiment).info.run_id, "words", "note.txt")
    return project


def uri_of(project: Path) -> str:
    return f"sqlite:///{project}/mlflow.db"


def read_note(project: Path) -> str:
    client = MlflowClient(uri_of(project))
    (run,) = client.search_runs(["1"])
    return Path(client.download_artifacts(run.info.run_id, "note.txt")).read_text()


def test_project_that_stayed_is_left_alone(old: Path) -> None:
    assert find_old_folders(uri_of(old)) == []
    assert point_to_moved_artifacts(uri_of(old)).startswith("nothing to do")
    assert read_note(old) == "words"


@pytest.mark.parametrize("carry", [shutil.move, shutil.copytree])
def test_moved_or_copied_project_is_refused_until_it_is_mended(
    old: Path, monkeypatch: pytest.MonkeyPatch, carry: object
) -> None:
    new = old.with_name("new place")
    carry(old, new)  # type: ignore[operator]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri_of(new))
    with pytest.raises(StudyError, match=r"looks for its files in .*old/mlruns\n.*sync --moved"):
        connect()
    assert str(new / "mlruns") in point_to_moved_artifacts(uri_of(new))
    client = connect()
    shutil.rmtree(old, ignore_errors=True)
    assert read_note(new) == "words"
    client.log_text(client.create_run("1").info.run_id, "more", "note.txt")
    assert len(list(new.glob("mlruns/1/*/artifacts/note.txt"))) == 2
    assert not old.exists()


def test_artifacts_at_a_place_of_the_users_own_are_left_alone(old: Path, tmp_path: Path) -> None:
    client = MlflowClient(uri_of(old))
    client.create_run(client.create_experiment("other", artifact_location=f"{tmp_path}/files"))
    client.create_run(client.create_experiment("cloud", artifact_location="s3://bucket/mlruns/3"))
    assert find_old_folders(uri_of(old)) == []


def test_database_copied_without_its_files_still_reads_them_where_they_are(old: Path) -> None:
    new = old.with_name("new")
    (new / "mlruns").mkdir(parents=True)
    shutil.copy(old / "mlflow.db", new)
    assert find_old_folders(uri_of(new)) == []
    assert read_note(new) == "words"


def test_server_address_has_no_old_folders() -> None:
    assert find_old_folders("http://localhost:5000") == []
