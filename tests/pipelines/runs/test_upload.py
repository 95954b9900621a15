"""Tables go into the studies that they are about, and nothing fails if they cannot."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipelines.export import main
from pipelines.runs.read_runs import read_runs
from pipelines.runs.upload import upload_files
from study.common.command import run_command
from tests.support.store import log_run

FILES = [f"report/comparison.{suffix}" for suffix in ("csv", "html", "md", "tex")]


def studies(client: MlflowClient) -> list[str]:
    """Two studies of one run each, a run of no study, and a study of other runs."""
    place = client.create_experiment("chest")
    parents = [str(client.create_run(place).info.run_id) for _ in range(3)]
    for variant, parent in enumerate(parents[:2], start=1):
        log_run(client, place, variant=variant, tags={"mlflow.parentRunId": parent})
    log_run(client, place, variant=3)
    return parents


def files_of(client: MlflowClient, run_id: str) -> list[str]:
    return [file.path for file in client.list_artifacts(run_id, "report")]


def test_table_is_uploaded_to_each_study_with_runs_in_it(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, other = studies(client)
    monkeypatch.setattr("sys.argv", ["pipelines.export", "--dataset", "chest", "--no-upload"])
    assert run_command(main) == 0
    assert files_of(client, first) == []
    monkeypatch.setattr("sys.argv", ["pipelines.export", "--dataset", "chest"])
    for _ in range(2):
        assert run_command(main) == 0
    assert [files_of(client, run_id) for run_id in (first, second, other)] == [FILES, FILES, []]
    there = Path(client.download_artifacts(second, FILES[0])).read_bytes()
    assert there == (tmp_path / "exports" / "chest" / "comparison.csv").read_bytes()


def test_upload_to_a_run_that_cannot_be_written_is_a_warning(
    client: MlflowClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = studies(client)
    runs = read_runs("chest")
    place = Path(client.get_run(first).info.artifact_uri.removeprefix("file://"))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("where the folder would be")
    file = tmp_path / "comparison.csv"
    file.write_text("a\n")
    assert upload_files(client, runs, [file]) == [second]
    warning = capsys.readouterr().err
    assert warning.startswith(f"warning: the files are not in MLflow's run {first}: ")
    assert len(warning.splitlines()) == 1
