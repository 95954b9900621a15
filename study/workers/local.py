"""How work is executed: in a process of its own, on this machine. Knows nothing of what it is."""

import atexit
import contextlib
import importlib
import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import FrameType
from typing import Any

from study.common.errors import OutOfMemory
from study.common.errors import StudyError
from study.common.errors import WorkerDied

OF_MEMORY = 0.9  # of a GPU, for the trials that share it; libraries take some beside them
VMSTAT = Path("/proc/vmstat")
_calls = {"running": False, "interrupted": False}  # of this process, if it is a worker's


class Worker:
    """One process that does one call at a time, kept between calls and replaced when it dies.

    Imports are paid once. The process is spawned, not forked, and ends with its parent. Ctrl-C in
    the terminal does not reach it: whoever made the worker decides, and interrupts it.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        cores: Sequence[int] = (),
        ahead: str | None = None,
    ) -> None:
        self._settings = dict(settings or {})  # environment variables of the process
        self._cores = cores  # that it may use; all, if none is named
        self._pool: ProcessPoolExecutor | None = None
        self._started: Future[int] = Future()  # the process; comes to its number
        self._interrupted = False
        # a function that the process calls first, from now on, while the caller goes on
        self._ahead = self._open().submit(_call, ahead, ()) if ahead else None

    def call(self, function: str, *args: Any) -> Any:
        """The value of `function` (as `package.module:name`) for `args`, worked out over there.

        Raises:
            WorkerDied: the process went away. The next call gets a new one.
            KeyboardInterrupt: the worker was interrupted.
            Exception: whatever the function raises.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        before = _killed_for_memory()
        try:
            return self._open().submit(_call, function, args).result()
        except BrokenProcessPool as error:
            self._pool = None
            if _killed_for_memory() > before:
                raise OutOfMemory(
                    "memory ran out: use a smaller batch_size or image_size, or fewer workers"
                ) from error
            raise WorkerDied("its process crashed or was killed") from error
        except StudyError:
            raise
        except Exception:  # a library's: the process may be left in any state, as with a lost GPU
            self.close()
            raise

    def interrupt(self) -> None:
        """End the call under way as Ctrl-C would, and refuse later ones. Called by any thread."""
        self._interrupted = True
        if self._pool is not None and self._started.done():
            self._signal(signal.SIGUSR1)

    def close(self) -> None:
        """End the process, if there is one."""
        pool, self._pool = self._pool, None
        if pool is not None:
            if self._ahead is not None and not self._ahead.done():  # nobody waits for it
                self._signal(signal.SIGTERM)
            pool.shutdown(cancel_futures=True)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(BrokenProcessPool, ProcessLookupError):
            os.kill(self._started.result(), number)

    def _open(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            args = (self._settings, self._cores)
            self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=args)
            self._started = self._pool.submit(os.getpid)
        return self._pool


def local_workers(count: int, ahead: str | None = None) -> list[Worker]:
    """That many workers, each with a GPU, or else cores, of its own as far as there are enough.

    Each begins at once with calling `ahead` (as `package.module:name`), if that is given.

    On a core of their own two trainings do more than one on both: a step keeps several cores busy
    for a part of its time only (benchmarks/README.md).
    """
    gpus = _gpus()
    if count == 1:
        return [Worker(ahead=ahead)]
    if not gpus:
        return [Worker(cores=cores, ahead=ahead) for cores in core_shares(count)]
    shared = _memory_shares(count / len(gpus))
    devices = [gpus[i % len(gpus)] for i in range(count)]
    return [Worker({"CUDA_VISIBLE_DEVICES": device, **shared}, ahead=ahead) for device in devices]


def _memory_shares(trials: float) -> dict[str, str]:
    """The settings with which so many trials at once find room in one GPU's memory."""
    if trials <= 1:
        return {}
    share = f"{OF_MEMORY / math.ceil(trials):.3f}"
    settings = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_MEM_FRACTION": share}
    return {name: os.environ.get(name, value) for name, value in settings.items()}


def core_shares(count: int) -> list[list[int]]:
    """This process' cores in so many parts; empty ones if there are too few.

    Of equal size, for with another number of threads sums are rounded otherwise: a trial shall come
    to the same figures whichever worker trains it.
    """
    try:
        cores = sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = []
    size = len(cores) // count
    return [cores[i * size : (i + 1) * size] for i in range(count)]


def _gpus() -> list[str]:
    """CUDA's names of the GPUs that this process may use."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name]
    try:
        return [str(i) for i, _ in enumerate(os.listdir("/proc/driver/nvidia/gpus"))]  # noqa: PTH208
    except OSError:
        return []


def _killed_for_memory() -> int:
    """How many processes the system has killed for want of memory since it started."""
    try:
        counts = dict(line.split() for line in VMSTAT.read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):  # not Linux
        return 0


def _call(function: str, args: tuple[Any, ...]) -> Any:
    module, name = function.split(":")
    _calls.update(running=True, interrupted=False)
    try:
        return getattr(importlib.import_module(module), name)(*args)
    finally:
        _calls["running"] = False


def _begin(settings: Mapping[str, str], cores: Sequence[int]) -> None:
    os.environ.update(settings)
    if cores:
        os.sched_setaffinity(0, cores)  # TensorFlow then takes as many threads
    atexit.register(_leave)  # before all others, so that it is called after them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's, which shares the terminal
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, _interrupted)
    _end_with_parent()


def _leave() -> None:
    """End at once: to take TensorFlow apart takes longer than a second."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _interrupted(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    if _calls["running"] and not _calls["interrupted"]:  # once, so that cleaning up is not cut off
        _calls["interrupted"] = True
        raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)  # no clean-up: nobody is left to want the result, and state is on disk

    threading.Thread(target=watch, daemon=True).start()
