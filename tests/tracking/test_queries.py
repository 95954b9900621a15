"""What is asked of MLflow while training, and the runs that others stand under."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from mlflow.entities import Metric
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from study.common.errors import TrackingError
from study.tracking import experiments
from study.tracking import operations
from study.tracking import queries
from study.tracking import ui_links
from study.tracking.parent_run import closing_parent_run
from study.tracking.parent_run import is_complete
from study.tracking.parent_run import kill_orphaned_runs
from study.tracking.parent_run import open_parent_run
from study.tracking.parent_run import StudySpec
from study.tracking.trial_run import open_run
from study.tracking.trial_run import RunSpec

PLACE = RunSpec("demo", "a trial", "f1")
STUDY = StudySpec("demo", "s", "the study", {})
FIGURES = {"val_accuracy": 0.5, "test_accuracy": 0.6, "val_loss": math.nan}


@pytest.mark.parametrize(
    "value",
    ["plain", "o'brien", 'say "b"', "o'b\"c", "a\\", "o'b\"c\\d", "100%", "a_b -- c"],
)
def test_run_is_found_by_a_tag_with_any_characters(client: MlflowClient, value: str) -> None:
    name = f"grid-folder:/{value}"
    others = [name.replace("'", "x").replace('"', "x"), name.upper(), f"{name}y"]
    ids = {tag: client.create_run("0", tags={"study": tag}).info.run_id for tag in {name, *others}}
    found = queries.search_runs_by_tags(client, {"study": name}, "attributes.status = 'RUNNING'")
    assert [run.info.run_id for run in found] == [ids[name]]


def test_finished_run_is_found_only_with_its_tag(client: MlflowClient) -> None:
    with open_run(client, PLACE, resumable=True) as log:
        assert queries.find_finished_run(client, "f1") is None
        log.log_metrics(FIGURES, 1)
        log.log_tags({"finished": "true"})
    found = queries.find_finished_run(client, "f1")
    assert found is not None
    assert found.info.run_id == log.run_id
    assert queries.find_finished_run(client, "f2") is None
    client.delete_run(log.run_id)
    assert queries.find_finished_run(client, "f1") is None


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
        run = queries.find_finished_run(client, "f1")
        assert run is not None
        assert queries.read_outcome(run).run_id == ids[1]
    text = capsys.readouterr().err
    assert text.count("warning") == 1
    assert f"run {ids[0]} is left out: it has no " in text
    assert lost in text


def _parent(client: MlflowClient, **params: int) -> Run:
    return open_parent_run(client, dataclasses.replace(STUDY, params=params))


def test_parent_run_opened_twice_is_one_run(client: MlflowClient) -> None:
    ids = []
    for _ in range(2):
        with closing_parent_run(client, _parent(client, epochs=3)) as study_run:
            ids.append(study_run.id)
            assert client.get_run(study_run.id).info.status == "RUNNING"
    assert ids[0] == ids[1]
    run = client.get_run(ids[0])
    assert (run.info.status, run.data.params) == ("FINISHED", {"epochs": "3"})
    assert run.info.run_name == "the study"
    experiment = client.get_experiment(run.info.experiment_id)
    assert (
        json.loads(experiment.tags[ui_links.VIEW_TAG])["searchFilter"] == "tags.finished = 'true'"
    )
    with open_run(client, RunSpec("demo", "child", "f3", ids[0]), resumable=True) as log:
        pass
    assert client.get_run(log.run_id).data.tags["mlflow.parentRunId"] == ids[0]


@pytest.mark.parametrize("status", ["RUNNING", "KILLED"])
def test_complete_run_left_open_by_a_kill_is_ended(client: MlflowClient, status: str) -> None:
    tags = {"fingerprint": "f1", "finished": "true"}
    run_id = client.create_run(experiments.experiment_id(client, "demo"), tags=tags).info.run_id
    client.update_run(run_id, status)
    client.log_batch(run_id, [Metric(name, value, 0, 1) for name, value in FIGURES.items()])
    assert queries.find_finished_run(client, "f1") is not None
    ended = client.get_run(run_id).info
    assert ended.status == "FINISHED"
    assert ended.end_time is not None


def test_search_runs_finds_more_than_one_page(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = experiments.experiment_id(client, "demo")
    made = [client.create_run(place, start_time=i + 1).info.run_id for i in range(5)]
    monkeypatch.setattr(queries, "PAGE", 2)
    assert [run.info.run_id for run in queries.search_runs(client, "")] == made


def test_orphaned_runs_of_a_parent_are_killed(client: MlflowClient) -> None:
    parent = str(_parent(client).info.run_id)
    place = experiments.experiment_id(client, "demo")

    def child(fingerprint: str, parent: str = parent, **tags: str) -> str:
        marks = {"mlflow.parentRunId": parent, "fingerprint": fingerprint, **tags}
        return str(client.create_run(place, tags=marks).info.run_id)

    dead, alive, complete = child("a"), child("b"), child("c", finished="true")
    other = child("a", parent="0" * 32)
    assert kill_orphaned_runs(client, parent, {"b"}) == 1
    assert client.get_run(dead).info.status == "KILLED"
    unfinished_runs = queries.select_unfinished_runs(queries.find_runs(client, "a"))
    assert [run.info.run_id for run in unfinished_runs] == [dead, other]
    for run_id in (alive, complete, other, parent):
        assert client.get_run(run_id).info.status == "RUNNING"
    assert kill_orphaned_runs(client, parent, {"b"}) == 0


@pytest.mark.parametrize("killer", ["driver", "retry"])
def test_run_that_finishes_while_it_is_killed_stays_finished(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, killer: str
) -> None:
    parent = str(_parent(client).info.run_id)
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


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (OSError, "FAILED")])
def test_parent_run_ends_by_the_error_of_its_block(
    client: MlflowClient, error: type[BaseException], status: str
) -> None:
    parent = _parent(client)

    def leave_block() -> None:
        with closing_parent_run(client, parent) as study_run:
            study_run.write([operations.tags({"said": "before the end"})])
            raise error

    with pytest.raises(error):
        leave_block()
    run = client.get_run(parent.info.run_id)
    assert (run.info.status, run.data.tags["said"]) == (status, "before the end")
    assert not is_complete(client, STUDY)


def test_query_to_a_failing_server_is_an_error_of_one_line(
    client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(TrackingError, match="MLflow at sqlite:") as caught:
        queries.search_runs(client, "")
    assert len(str(caught.value).splitlines()) == 1
