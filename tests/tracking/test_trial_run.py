"""Which run a trial writes to, how it ends, and that nothing is written twice."""

import time
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from study.common.errors import TrackingError
from study.tracking import trial_run
from study.tracking.experiments import experiment_id
from study.tracking.run_logger import RunLog
from study.tracking.trial_run import open_run
from study.tracking.trial_run import RunSpec
from tests.support.commands import history_of
from tests.support.commands import runs_of
from tests.support.commands import wait_until

PLACE = RunSpec("demo", "a trial", "f1")
EPOCH = {"epoch": 1.0, "loss": 0.5, "accuracy": 0.75, "val_loss": 0.25, "seconds": 2.0}


def interrupt(client: MlflowClient) -> str:
    """Open a run, write an epoch, and stop as Ctrl-C does; its id."""
    try:
        with open_run(client, PLACE, resumable=True) as log:
            log.log_epoch(EPOCH)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return log.run_id


def test_interrupted_run_is_resumed_without_double_points(client: MlflowClient) -> None:
    run_id = interrupt(client)
    assert client.get_run(run_id).info.status == "KILLED"
    with open_run(client, PLACE, resumable=True) as log:
        assert log.run_id == run_id
        log.log_epoch(EPOCH)
        log.log_epoch({**EPOCH, "epoch": 2.0, "loss": 0.25})
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED"
    assert history_of(client, run, "train_loss") == [(1, 0.5), (2, 0.25)]
    assert history_of(client, run, "epoch_seconds") == [(1, 2.0), (2, 2.0)]


def test_interrupted_run_without_a_checkpoint_is_given_up(client: MlflowClient) -> None:
    run_id = interrupt(client)
    with open_run(client, PLACE, resumable=False) as log:
        assert log.run_id != run_id
    old = client.get_run(run_id)
    assert old.info.status == "KILLED"
    assert "another run" in old.data.tags["given_up"]


def test_failed_run_is_not_resumed(client: MlflowClient) -> None:
    with pytest.raises(ValueError, match="bad"), open_run(client, PLACE, resumable=True) as log:
        raise ValueError("bad luck\nand more")
    failed = client.get_run(log.run_id)
    assert failed.info.status == "FAILED"
    assert failed.data.tags["given_up"] == "ValueError: bad luck"
    with open_run(client, PLACE, resumable=True) as other:
        assert other.run_id != log.run_id


def test_another_config_gets_another_run(client: MlflowClient) -> None:
    run_id = interrupt(client)
    with open_run(client, RunSpec("demo", "another", "f2"), resumable=True) as log:
        assert log.run_id != run_id


def create_killed_run(client: MlflowClient, **tags: str) -> str:
    """The id of a run that was killed before its first epoch."""
    marks = {"fingerprint": "f1", **tags}
    return str(client.create_run(experiment_id(client, "demo"), tags=marks).info.run_id)


def test_run_without_an_epoch_is_resumed(client: MlflowClient) -> None:
    with pytest.raises(KeyboardInterrupt), open_run(client, PLACE, resumable=False) as first:
        raise KeyboardInterrupt
    with open_run(client, PLACE, resumable=False) as second:
        pass
    assert second.run_id == first.run_id


def test_run_whose_id_was_lost_on_its_way_is_used_by_the_next_attempt(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run = client.create_run

    def lose_answer(*args: Any, **named: Any) -> None:
        create_run(*args, **named)
        raise MlflowException("API request failed with exception: Read timed out")

    with monkeypatch.context() as patch:
        patch.setattr(client, "create_run", lose_answer)
        with (
            pytest.raises(TrackingError, match="Read timed out"),
            open_run(client, PLACE, resumable=False),
        ):
            pass
    (lost,) = runs_of(client)
    with open_run(client, PLACE, resumable=False) as log:
        assert log.run_id == lost.info.run_id
    assert [run.info.status for run in runs_of(client)] == ["FINISHED"]


def test_run_killed_on_this_machine_is_resumed(client: MlflowClient) -> None:
    with open_run(client, PLACE, resumable=False) as log:
        machine = client.get_run(log.run_id).data.tags["machine"]
        log.log_tags({"given_up": "for the test"})
    killed = create_killed_run(client, machine=machine)
    with open_run(client, PLACE, resumable=False) as log:
        assert log.run_id == killed


def test_run_of_another_machine_is_not_resumed(client: MlflowClient) -> None:
    elsewhere = create_killed_run(client, machine="another")
    with open_run(client, PLACE, resumable=False) as log:
        assert log.run_id != elsewhere


def test_run_deleted_during_training_fails_the_trial_in_one_line(client: MlflowClient) -> None:
    def write_until_told(log: RunLog) -> None:
        client.delete_run(log.run_id)
        while True:
            log.log_tags({"a": "b"})
            time.sleep(0.01)

    with (
        pytest.raises(TrackingError, match=r"run \w+: .*'active' state") as caught,
        open_run(client, PLACE, resumable=True) as log,
    ):
        write_until_told(log)
    assert len(str(caught.value).splitlines()) == 1


def test_refusal_of_the_last_operation_is_raised(client: MlflowClient) -> None:
    with (
        pytest.raises(TrackingError, match="MLflow refuses the record of run"),
        open_run(client, PLACE, resumable=True) as log,
    ):
        log.log_tags({"x" * 300: "a name too long"})
    assert client.get_run(log.run_id).info.status == "FAILED"


def test_reason_of_a_failed_run_has_no_password(client: MlflowClient) -> None:
    with pytest.raises(OSError, match="refused"), open_run(client, PLACE, resumable=True) as log:
        raise OSError("http://me:s3cret@host/x refused, password=s3cret&more")
    told = client.get_run(log.run_id).data.tags["given_up"]
    assert told == "OSError: http://host/x refused, password=...&more"


def test_system_metrics_of_a_resumed_run_continue_their_steps(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    name = "system/cpu_utilization_percentage"

    def steps(run_id: str) -> list[int]:
        return [point.step for point in client.get_metric_history(run_id, name)]

    def stop_after(count: int) -> None:
        with open_run(client, PLACE, resumable=True) as log:
            wait_until(lambda: len(steps(log.run_id)) >= count)
            raise KeyboardInterrupt

    for count in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            stop_after(count)
    (run,) = runs_of(client)
    assert steps(run.info.run_id) == list(range(len(steps(run.info.run_id))))


def test_run_has_no_tags_of_the_repository_around(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"mlflow.source.git.commit": "0f3a", "mlflow.source.git.repoURL": "https://u:p@host"}
    monkeypatch.setattr(
        trial_run, "resolve_tags", lambda tags: tags | theirs | {"mlflow.user": "somebody"}
    )
    with open_run(client, PLACE, resumable=True) as log:
        pass
    tags = client.get_run(log.run_id).data.tags
    assert tags["mlflow.user"] == "somebody"
    assert not [name for name in tags if "git" in name]
