"""The runs that others stand under."""

import dataclasses
import json

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

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

STUDY = StudySpec("demo", "s", "the study", {})


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
