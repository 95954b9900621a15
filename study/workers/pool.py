"""Run one job on several workers.

A thread here waits for each worker, while the training is done elsewhere.
"""

import enum
import threading
from abc import ABC
from abc import abstractmethod
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
from concurrent.futures import as_completed
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait
from typing import Any
from typing import Generic
from typing import Protocol
from typing import TypeVar

from study.common import backoff
from study.common.errors import first_line
from study.common.errors import StorageError
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.errors import TrialFailed
from study.common.errors import WorkerDied
from study.common.errors import WorkerLost
from study.common.progress import Progress

TaskT = TypeVar("TaskT")
OUTAGES = (TrackingError, StorageError)
PAUSE = 1.0  # seconds before a worker that has nothing to do asks again


class Worker(Protocol):
    """A process or task that runs calls.

    See `study.workers.local` and `study.workers.ray_cluster`.
    """

    def call(self, function: str, *args: Any) -> Any:
        """Call a function (as `package.module:name`) and return its value."""

    def cancel(self) -> None:
        """End the call under way with WorkerDied, after its clean-up. Later ones are welcome."""

    def interrupt(self) -> None:
        """End the call under way with KeyboardInterrupt, and refuse later ones."""

    def close(self) -> None:
        """Release what the worker keeps between calls."""


class StepResult(enum.Enum):
    """The result of a worker's turn."""

    DONE = "did something: ask again"
    WAIT = "nothing to do now, but there may be when others are done"
    END = "nothing left to do"


class Scheduler(ABC, Generic[TaskT]):
    """Claims tasks for workers, and notes which of them failed.

    One failing task does not end the others. All methods may be called by several threads.
    """

    progress: Progress

    @abstractmethod
    def claim_next(self) -> TaskT | StepResult:
        """Return a task for a free worker, or the result of its turn if there is none."""

    @abstractmethod
    def train(self, task: TaskT, worker: Worker) -> None:
        """Train a task on a worker, and note its outcome.

        Raises:
            WorkerLost: the worker went away, and the task can be claimed again.
            TrialFailed: the task's training failed.
            WorkerDied: the same, because its worker crashed.
        """

    @abstractmethod
    def note_failure(self, task: TaskT, reason: str) -> None:
        """Note that a task's training failed."""

    def step(self, worker: Worker) -> StepResult:
        """Take one turn with a worker: train a task, if there is one."""
        task = self.claim_next()
        if isinstance(task, StepResult):
            return task
        try:
            self.train(task, worker)
        except WorkerLost as error:
            self.progress.say(f"{task}: {error}; it will be tried again")
        except (TrialFailed, WorkerDied) as error:
            self.note_failure(task, first_line(error))
        return StepResult.DONE


def _await_all(futures: Collection[Future[None]], stop: threading.Event) -> None:
    """Wait for all workers, and raise the first error.

    An outage is raised after all have ended, and sets `stop`, so that they take no more steps.
    """
    outage: StudyError | None = None
    for future in as_completed(futures):
        try:
            future.result()
        except OUTAGES as error:
            stop.set()
            if outage is None and not all(other.done() for other in futures):
                Progress().say(f"{first_line(error)}; no more trials start, the running ones go on")
            outage = outage or error
    if outage is not None:
        raise outage


def run_workers(workers: Sequence[Worker], step: Callable[[Worker], StepResult]) -> None:
    """Let each worker take steps until there is nothing left to do.

    Args:
        workers: each takes its steps in a thread of its own.
        step: takes one turn with a worker, see `Scheduler.step`.

    Raises:
        TrackingError, StorageError: a server was away for too long. No worker takes another step,
            but those under way go on to their end.
        Exception: the first other that a step raises, or KeyboardInterrupt. All workers are
            interrupted.
    """
    stop = threading.Event()

    def take_steps(worker: Worker) -> None:
        while not stop.is_set() and (result := step(worker)) is not StepResult.END:
            if result is StepResult.WAIT:
                stop.wait(PAUSE)

    with ThreadPoolExecutor(len(workers)) as pool:
        futures = [pool.submit(take_steps, worker) for worker in workers]
        try:
            _await_all(futures, stop)
        except BaseException:
            stop.set()
            backoff.stopping.set()  # wake the threads that wait for a server
            # Interrupt repeatedly, because a worker may be just about to start a call.
            while wait(futures, timeout=0.5).not_done:
                for worker in workers:
                    worker.interrupt()
            raise
        finally:
            backoff.stopping.clear()
