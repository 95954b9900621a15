"""Several workers on one job: a thread waits for each, while the training is done elsewhere."""

import enum
import threading
from collections.abc import Callable
from collections.abc import Sequence
from concurrent.futures import as_completed
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait
from typing import Any
from typing import Protocol

PAUSE = 1.0  # s, before one asks again who has nothing to do yet


class Worker(Protocol):
    """What carries out a call; see `study.workers.local` and `study.workers.ray_cluster`."""

    def call(self, function: str, *args: Any) -> Any:
        """The value of `package.module:name` for `args`."""

    def interrupt(self) -> None:
        """End the call under way with KeyboardInterrupt, and refuse later ones."""

    def close(self) -> None:
        """Let go of what was kept for calls."""


class Step(enum.Enum):
    """What came of a worker's turn."""

    DONE = "did something: ask again"
    WAIT = "nothing to do now, but there may be when others are done"
    END = "nothing left to do"


def work(workers: Sequence[Worker], step: Callable[[Worker], Step]) -> None:
    """Have each worker take `step` until there is nothing left to do.

    Raises:
        Exception: the first that a step raises, KeyboardInterrupt too; all workers are interrupted.
    """
    stop = threading.Event()

    def steps(worker: Worker) -> None:
        while not stop.is_set() and (came := step(worker)) is not Step.END:
            if came is Step.WAIT:
                stop.wait(PAUSE)

    with ThreadPoolExecutor(len(workers)) as pool:
        futures = [pool.submit(steps, worker) for worker in workers]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            while wait(futures, timeout=0.5).not_done:  # one may be about to call
                for worker in workers:
                    worker.interrupt()
            raise
