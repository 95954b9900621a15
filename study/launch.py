"""How work is executed: in a process of its own, on this machine. Knows nothing of what it is."""

import importlib
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

from study.config import StudyError


class WorkerDied(StudyError):
    """The process ended without an answer: killed, or out of memory."""


class Worker:
    """One process that does one call at a time, kept between calls and replaced when it dies.

    Imports are paid once. The process is spawned, not forked, and ends with its parent.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def call(self, function: str, *args: Any) -> Any:
        """The value of `function` (as `package.module:name`) for `args`, worked out over there.

        Raises:
            WorkerDied: the process went away. The next call gets a new one.
            Exception: whatever the function raises.
        """
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
        try:
            return self._pool.submit(_call, function, args).result()
        except BrokenProcessPool as error:
            self._pool = None
            raise WorkerDied(
                "its process was killed or ran out of memory: the same command goes on with it"
            ) from error


def _call(function: str, args: tuple[Any, ...]) -> Any:
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)(*args)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)  # no clean-up: nobody is left to want the result, and state is on disk

    threading.Thread(target=watch, daemon=True).start()
