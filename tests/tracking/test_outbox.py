"""What is on its way to a run: in order, each piece until it has arrived, and none for ever."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from mlflow.entities import Run
from mlflow.entities import RunInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.tracking import MlflowClient

from study.common.errors import TrackingError
from study.common.errors import TrackingRefused
from study.tracking import operations
from study.tracking import outbox as outbox_file
from study.tracking.outbox import Outbox
from study.tracking.writer import write_operation
from tests.support.commands import wait_until

DOWN = MlflowException("API request failed with exception: Connection refused")
REFUSED = MlflowException("too long\nand more", INVALID_PARAMETER_VALUE)


class Unreliable:
    """A client whose answers are told before: None, or the error; afterwards all goes well."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.calls: list[int] = []  # what was asked for, by number
        self.written: list[int] = []  # what arrived
        self.stage = "active"  # of the run

    def get_run(self, run_id: str) -> Run:
        return Run(RunInfo(run_id, "0", "me", "RUNNING", 1, None, self.stage), None)

    def log_batch(self, *body: Any) -> None:
        number = int(body[-1][0].value)
        self.calls.append(number)
        answer = self.answers.pop(0) if self.answers else None
        if not isinstance(answer, LostError) and answer is not None:
            raise answer
        self.written.append(number)
        if answer is not None:
            raise answer


class LostError(MlflowException):
    """The request did arrive, but its answer did not."""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_file, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(outbox_file, "LONGEST_PAUSE", 0.002)


def make_outbox(client: object, count: int) -> Outbox:
    box = Outbox(client, "r")  # type: ignore[arg-type]
    for number in range(count):
        box.append(operations.tags({"n": str(number)}))
    return box


@given(st.lists(st.sampled_from([None, DOWN, LostError("reset"), TimeoutError()]), max_size=25))
@settings(max_examples=60)
def test_outbox_with_a_failing_server_delivers_all_in_order(
    answers: list[Exception | None],
) -> None:
    client = Unreliable(*answers)
    box = make_outbox(client, 8)
    box.wait(60)
    assert box.stop() == []
    box.check()
    assert list(dict.fromkeys(client.written)) == list(range(8))
    assert client.written == sorted(client.written)
    assert client.calls == sorted(client.calls)


@given(st.integers(0, 7), st.integers(0, 3))
@settings(max_examples=30)
def test_outbox_stopped_early_returns_what_has_not_arrived(arrived: int, failures: int) -> None:
    client = Unreliable(*[None] * arrived, *[DOWN] * 10_000)
    box = make_outbox(client, 8)
    wait_until(lambda: len(client.calls) > arrived + failures)
    box.wait(0)
    left = [int(operation.body["tags"]["n"]) for operation in box.stop()]
    assert client.written + left == list(range(8))


def test_appending_waits_for_nobody() -> None:
    answer = threading.Event()

    class Slow(Unreliable):
        def log_batch(self, *body: Any) -> None:
            answer.wait()
            super().log_batch(*body)

    client = Slow()
    box = make_outbox(client, 100)
    assert client.calls == []
    answer.set()
    box.wait(60)
    assert len(client.written) == 100


def test_outbox_wait_goes_on_while_the_server_answers() -> None:
    client = Unreliable(*[DOWN, None] * 20)
    box = make_outbox(client, 20)
    box.wait(60)
    assert client.written == list(range(20))


def test_outbox_refusal_is_raised_once_and_drops_what_follows() -> None:
    client = Unreliable(None, REFUSED)
    box = make_outbox(client, 5)
    box.wait(60)
    with pytest.raises(TrackingRefused, match=r"run r: too long$"):
        box.check()
    box.check()
    box.append(operations.tags({"n": "9"}))
    box.wait(60)
    assert client.written == [0, 9]


def test_outbox_of_a_deleted_run_does_not_speak_of_other_runs() -> None:
    client = Unreliable(REFUSED)
    client.stage = "deleted"
    box = make_outbox(client, 1)
    box.wait(60)
    with pytest.raises(TrackingError) as caught:
        box.check()
    assert type(caught.value) is TrackingError


def test_outbox_keeps_its_operations_while_the_login_is_refused() -> None:
    denied = MlflowException("Permission denied", PERMISSION_DENIED)
    client = Unreliable(*[denied] * 3)
    box = make_outbox(client, 2)
    box.wait(60)
    box.check()
    assert client.written == [0, 1]


@pytest.mark.parametrize("error", [DOWN, TimeoutError("no answer")])
def test_outbox_problem_is_the_last_error(error: Exception) -> None:
    client = Unreliable(*[error] * 10_000)
    box = make_outbox(client, 1)
    box.wait(0)
    box.stop()
    assert box.problem == str(error)


def test_metric_written_twice_is_one_point(client: MlflowClient) -> None:
    run_id = client.create_run("0").info.run_id
    figures = {"loss": 0.1, "accuracy": float("nan"), "most": float("inf")}
    first = operations.metrics(figures, 1_700_000_000_000, 1)
    more = operations.metrics({"loss": 0.1, "new": 2.0}, 1_700_000_000_000, 1)
    other = operations.metrics({"loss": 0.1}, 1_700_000_000_000, 2)
    for operation in (first, first, more, other, other):
        write_operation(client, run_id, operation)
    steps = [point.step for point in client.get_metric_history(run_id, "loss")]
    assert steps == [1, 2]
    for name in ("accuracy", "most", "new"):
        assert len(client.get_metric_history(run_id, name)) == 1


def test_operation_written_twice_has_the_effect_of_one(client: MlflowClient) -> None:
    run_id = client.create_run("0").info.run_id
    body = {"name": "demo", "source": "synthetic", "digest": "d" * 64}
    end = operations.Operation("end", {"status": "FINISHED", "time": 1_700_000_000_000})
    for _ in range(2):
        write_operation(client, run_id, operations.Operation("dataset", body))
        write_operation(client, run_id, operations.params({"lr": 0.1}))
        write_operation(client, run_id, end)
    run = client.get_run(run_id)
    assert len(run.inputs.dataset_inputs) == 1
    assert run.data.params == {"lr": "0.1"}
    assert (run.info.status, run.info.end_time) == ("FINISHED", 1_700_000_000_000)
