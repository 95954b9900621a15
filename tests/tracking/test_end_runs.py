"""Runs that their own process did not end."""

import math

import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from study.tracking import experiments
from study.tracking import queries
from study.tracking.end_runs import find_finished_run
from study.tracking.parent_run import kill_orphaned_runs
from study.tracking.parent_run import open_parent_run
from study.tracking.parent_run import StudySpec
from study.tracking.trial_run import open_run
from study.tracking.trial_run import RunSpec

PLACE = RunSpec("demo", "a trial", "f1")
STUDY = StudySpec("demo", "s", "the study", {})
FIGURES = {"val_accuracy": 0.5, "test_accuracy": 0.6, "val_loss": math.nan}


def test_finished_run_is_found_only_with_its_tag(client: MlflowClient) -> None:
    with open_run(client, PLACE, resumable=True) as log:
        assert find_finished_run(client, "f1") is None
        log.log_metrics(FIGURES, 1)
        log.log_tags({"finished": "true"})
    found = find_finished_run(client, "f1")
    assert found is not None
    assert found.info.run_id == log.run_id
    assert find_finished_run(client, "f2") is None
    client.delete_run(log.run_id)
    assert find_finished_run(client, "f1") is None


@pytest.mark.parametrize("lost", ["val_accuracy", "test_accuracy", "val_loss"])
def test_copied_run_that_lacks_a_figure_is_left_out_and_named_once(
    client: MlflowClient, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    experiment = experiments.experiment_id(client, "demo")
    tags = {"fingerprint": "f1", "finished": "true"}
    ids = [client.create_run(experiment, 1_000 + i, tags).info.run_id for i in range(2)]
    for run_id in ids:
        figures = FIGURES if run_id == ids[1] else {**FIGURES, "test_accuracy": math.nan}
        points = [Metric(name, value, 0, 1) for name, value in figures.items()]
        kept = [p for p in points if run_id == ids[1] or p.key != lost]
        client.log_batch(run_id, kept)
        client.set_terminated(run_id)
    for _ in range(2):
        run = find_finished_run(client, "f1")
        assert run is not None
        assert queries.read_outcome(run).run_id == ids[1]
    text = capsys.readouterr().err
    assert text.count("warning") == 1
    assert f"run {ids[0]} is left out: it has no " in text
    assert lost in text


@pytest.mark.parametrize("status", ["RUNNING", "KILLED"])
def test_complete_run_left_open_by_a_kill_is_ended(client: MlflowClient, status: str) -> None:
    tags = {"fingerprint": "f1", "finished": "true"}
    run_id = client.create_run(experiments.experiment_id(client, "demo"), tags=tags).info.run_id
    client.update_run(run_id, status)
    client.log_batch(run_id, [Metric(name, value, 0, 1) for name, value in FIGURES.items()])
    assert find_finished_run(client, "f1") is not None
    ended = client.get_run(run_id).info
    assert ended.status == "FINISHED"
    assert ended.end_time is not None


@pytest.mark.parametrize("killer", ["driver", "retry"])
def test_run_that_finishes_while_it_is_killed_stays_finished(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, killer: str
) -> None:
    parent = str(open_parent_run(client, STUDY).info.run_id)
    marks = {"mlflow.parentRunId": parent, "fingerprint": "f1"}
    run_id = client.create_run(experiments.experiment_id(client, "demo"), tags=marks).info.run_id
    unfinished_runs = queries.find_runs(client, "f1")
    kill = MlflowClient.set_terminated

    def finish_then_kill(self: MlflowClient, id_: str, status: str, *more: int) -> None:
        if status == "KILLED":  # after the killer has read the run
            self.set_tag(run_id, "finished", "true")
            kill(self, run_id, "FINISHED")
        kill(self, id_, status, *more)

    monkeypatch.setattr(MlflowClient, "set_terminated", finish_then_kill)
    if killer == "driver":
        kill_orphaned_runs(client, parent, set())
    else:
        with open_run(client, PLACE, resumable=False, unfinished_runs=unfinished_runs[:1]):
            pass
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["finished"]) == ("FINISHED", "true")
