"""Workers that share a job: what they leave undone, and how they are stopped. No training."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from study.common.backoff import retry_with_backoff
from study.common.backoff import stopping
from study.common.errors import StorageError
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.progress import Progress
from study.workers import pool
from study.workers.pool import run_workers
from study.workers.pool import StepResult
from study.workers.pool import Worker
from tests.support.commands import wait_until


class BlockingWorker:
    """A worker whose calls last until it is interrupted."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.interrupted = threading.Event()
        self.refused = 0

    def call(self, function: str, *args: Any) -> Any:  # noqa: ARG002
        if self.interrupted.is_set():
            self.refused += 1
            raise KeyboardInterrupt
        self.begun.set()
        assert self.interrupted.wait(60)
        raise KeyboardInterrupt

    def cancel(self) -> None:
        raise AssertionError("nobody lost a claim")

    def interrupt(self) -> None:
        self.interrupted.set()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PAUSE", 0.0)


def test_workers_do_each_step_once_and_in_parallel() -> None:
    together = threading.Barrier(4, timeout=60)  # broken if they took turns
    jobs, done = list(range(40)), []
    lock = threading.Lock()

    def step(worker: Worker) -> StepResult:
        with lock:
            if not jobs:
                return StepResult.END
            job = jobs.pop()
        if job >= 36:
            together.wait()
        done.append((job, worker))
        return StepResult.DONE

    workers = [BlockingWorker() for _ in range(4)]
    run_workers(workers, step)
    assert sorted(job for job, _ in done) == list(range(40))
    assert {id(worker) for _, worker in done} == {id(worker) for worker in workers}


def test_worker_that_has_to_wait_asks_again() -> None:
    first, second = BlockingWorker(), BlockingWorker()
    asked, late = threading.Event(), []

    def step(worker: Worker) -> StepResult:
        if worker is first and not asked.is_set():
            assert asked.wait(60)  # until the other has asked three times
            return StepResult.DONE
        if worker is second and len(late) < 5:
            late.append(worker)
            if len(late) == 3:
                asked.set()
            return StepResult.WAIT
        return StepResult.END

    run_workers([first, second], step)
    assert len(late) == 5


@pytest.mark.parametrize("error", [ValueError("of one"), KeyboardInterrupt(), SystemExit(3)])
def test_first_error_interrupts_the_others_and_is_raised(error: BaseException) -> None:
    bad, *others = workers = [BlockingWorker() for _ in range(3)]

    def step(worker: Worker) -> StepResult:
        if worker is bad:
            assert all(other.begun.wait(60) for other in others)
            raise error
        worker.call("a:b")
        return StepResult.DONE

    with pytest.raises(type(error)) as caught:
        run_workers(workers, step)
    assert caught.value is error
    assert all(other.interrupted.is_set() for other in others)


def test_ctrl_c_interrupts_all_workers_and_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [BlockingWorker() for _ in range(3)]

    def pressed(_: object) -> None:
        assert all(worker.begun.wait(60) for worker in workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "as_completed", pressed)  # where the main thread waits
    with pytest.raises(KeyboardInterrupt):
        run_workers(workers, calling)
    assert all(worker.interrupted.is_set() for worker in workers)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("of one")])
def test_end_of_the_others_wakes_a_worker_that_waits_for_a_server(error: BaseException) -> None:
    begun = threading.Event()
    pressing, waiting = BlockingWorker(), BlockingWorker()

    def ask() -> None:
        begun.set()
        raise ConnectionRefusedError

    def step(worker: Worker) -> StepResult:
        if worker is waiting:
            seconds = {"seconds": 3600, "first_pause": 600, "longest_pause": 600}
            retry_with_backoff(ask, lambda _: True, **seconds)
        assert begun.wait(60)
        raise error

    with pytest.raises(type(error)):
        run_workers([pressing, waiting], step)
    assert not stopping.is_set()  # for what the process does afterwards


@pytest.mark.parametrize("error", [TrackingError("no server"), StorageError("no server")])
def test_outage_lets_running_calls_end_and_starts_no_more(
    error: StudyError, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky, training = BlockingWorker(), BlockingWorker()
    begun = threading.Event()
    said: list[str] = []
    monkeypatch.setattr(Progress, "say", lambda _, text: said.append(text))
    steps: list[Worker] = []

    def step(worker: Worker) -> StepResult:
        steps.append(worker)
        if worker is unlucky:
            assert begun.wait(60)
            raise error
        begun.set()
        wait_until(lambda: bool(said), seconds=60)
        return StepResult.DONE

    with pytest.raises(type(error)) as caught:
        run_workers([unlucky, training], step)
    assert caught.value is error
    assert said == ["no server; no more trials start, the running ones go on"]
    assert len(steps) == 2
    assert not training.interrupted.is_set()


def calling(worker: Worker) -> StepResult:
    worker.call("a:b")
    return StepResult.DONE


class LateWorker(BlockingWorker):
    """A worker that an interruption does not reach before it calls, as with a process to start."""

    def __init__(self) -> None:
        super().__init__()
        self.told = 0

    def call(self, function: str, *args: Any) -> Any:
        self.begun.set()
        return super().call(function, *args)

    def interrupt(self) -> None:
        self.told += 1
        if self.told > 1:
            super().interrupt()


def raising_after(event: threading.Event, bad: Worker) -> Callable[[Worker], StepResult]:
    def step(worker: Worker) -> StepResult:
        if worker is bad:
            assert event.wait(60)
            raise ValueError
        return calling(worker)

    return step


def test_worker_about_to_call_is_interrupted_again() -> None:
    bad, late = BlockingWorker(), LateWorker()
    with pytest.raises(ValueError):  # noqa: PT011
        run_workers([bad, late], raising_after(late.begun, bad))
    assert late.told > 1


def test_worker_calling_after_the_interruption_stops() -> None:
    bad, late = BlockingWorker(), BlockingWorker()
    steps = 0

    def step(worker: Worker) -> StepResult:
        nonlocal steps
        if worker is bad:
            raise ValueError
        steps += 1
        assert late.interrupted.wait(60)  # the others have stopped before it calls
        return calling(worker)

    with pytest.raises(ValueError):  # noqa: PT011
        run_workers([late, bad], step)
    assert (steps, late.refused) == (1, 1)
