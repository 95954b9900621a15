"""A run is found by its ID, or by the beginning of it."""

import pytest
from mlflow.tracking import MlflowClient

from pipelines.runs.finished_run import NoRunsError
from pipelines.runs.one_run import read_run
from tests.support.store import log_run


def log_two_runs(client: MlflowClient) -> list[str]:
    experiment = client.create_experiment("chest")
    return [log_run(client, experiment, fields={"seed": seed}) for seed in (0, 1)]


def test_run_is_found_by_the_beginning_of_its_id(client: MlflowClient) -> None:
    for run_id in log_two_runs(client):
        assert read_run(client, run_id).run_id == run_id
        assert read_run(client, run_id[:12]).run_id == run_id


def test_beginning_that_several_runs_share_is_refused(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [client.get_run(run_id) for run_id in log_two_runs(client)]
    monkeypatch.setattr("study.tracking.queries.search_runs", lambda *_: runs)
    with pytest.raises(NoRunsError, match=r"2 runs begin with 0f, such as .*: give more of the ID"):
        read_run(client, "0f")


def test_beginning_of_no_run_is_refused(client: MlflowClient) -> None:
    with pytest.raises(NoRunsError, match="no run 0123abc in"):
        read_run(client, "0123abc")
