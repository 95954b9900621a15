"""Run calls in processes of their own on this machine.

This module knows nothing of what the calls do.
"""

import atexit
import contextlib
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
from pkgutil import resolve_name
from types import FrameType
from typing import Any

from study.common.errors import OutOfMemory
from study.common.errors import StudyError
from study.common.errors import WorkerDied
from study.common.memory import keep_freed_memory
from study.workers.gpus import list_gpus

# Of a GPU's memory, for the trials that share it. Libraries take some of the rest.
MEMORY_FRACTION = 0.9
VMSTAT = Path("/proc/vmstat")
STOP_SECONDS = 2.0  # in which a signal to all processes of a command reaches the driver, too
# The state of the call under way in this process, if it is a worker's.
_call_state = {"running": False, "interrupted": False}


class LocalWorker:
    """A process that runs one call at a time and is replaced when it dies.

    The process is kept between calls, so it imports its modules only once. It is spawned, not
    forked, and ends with its parent. Ctrl-C in the terminal does not reach it: the code that made
    the worker decides whether to interrupt it.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        cores: Sequence[int] = (),
        preload: str | None = None,
    ) -> None:
        self._settings = dict(settings or {})  # environment variables of the process
        self._cores = cores  # that the process may use; all if empty
        self._pool: ProcessPoolExecutor | None = None
        self._process_id: Future[int] = Future()  # done when the process has started
        self._interrupted = threading.Event()
        # The process starts now and calls this function first, while the caller continues.
        self._preload = self._ensure_pool().submit(_run_function, preload, ()) if preload else None

    def call(self, function: str, *args: Any) -> Any:
        """Call a function in the worker's process and return its value.

        Args:
            function: as `package.module:name`.
            *args: its arguments.

        Raises:
            WorkerDied: the process went away, or was told to. The next call gets a new one.
            KeyboardInterrupt: the worker was interrupted.
            Exception: whatever the function raises.
        """
        if self._interrupted.is_set():
            raise KeyboardInterrupt
        kills_before = _count_memory_kills()
        try:
            return self._await(self._ensure_pool().submit(_run_function, function, args))
        except BrokenProcessPool as error:
            self._pool = None
            if _count_memory_kills() > kills_before:
                raise OutOfMemory(
                    "memory ran out: use a smaller batch_size or image_size, or fewer workers"
                ) from error
            raise WorkerDied("its process crashed or was killed") from error
        except StudyError:
            raise
        except Exception:
            # A library raised it. The process may be in any state, such as having lost its GPU.
            self.close()
            raise

    def _await(self, future: Future[Any]) -> Any:
        """Return the value of a call, unless its process alone was told to stop."""
        try:
            return future.result()
        except KeyboardInterrupt as error:
            if not future.done() or self._interrupted.wait(STOP_SECONDS):
                raise
            self.close()  # somebody wants this process to end, and perhaps its memory
            raise WorkerDied("its process was told to stop") from error

    def cancel(self) -> None:
        """End the call under way with WorkerDied, after its clean-up.

        Any thread may call this, and repeat it.
        """
        if self._pool is not None and self._process_id.done():
            self._send_signal(signal.SIGUSR1)

    def interrupt(self) -> None:
        """End the call under way as Ctrl-C would, and refuse later ones.

        Any thread may call this.
        """
        self._interrupted.set()
        self.cancel()

    def close(self) -> None:
        """End the process, if there is one."""
        pool = self._pool
        self._pool = None
        if pool is not None:
            # Nobody waits for the value of the first call.
            if self._preload is not None and not self._preload.done():
                self._send_signal(signal.SIGKILL)
            pool.shutdown(cancel_futures=True)

    def _send_signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(BrokenProcessPool, ProcessLookupError):
            os.kill(self._process_id.result(), number)

    def _ensure_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            args = (self._settings, self._cores)
            self._pool = ProcessPoolExecutor(1, context, initializer=_init_worker, initargs=args)
            self._process_id = self._pool.submit(os.getpid)
        return self._pool


def make_local_workers(count: int, preload: str | None = None) -> list[LocalWorker]:
    """Make workers, each with a GPU or cores of its own as far as there are enough.

    Two trainings on a core each are faster than one training on both cores, because a step keeps
    several cores busy for only part of its time (benchmarks/README.md).

    Args:
        count: how many workers.
        preload: a function (as `package.module:name`) that each worker calls at once, if any.
    """
    gpus = list_gpus()
    if count == 1:
        return [LocalWorker(preload=preload)]
    if not gpus:
        return [LocalWorker(cores=cores, preload=preload) for cores in divide_cores(count)]
    memory_settings = _limit_gpu_memory(count / len(gpus))
    devices = [gpus[i % len(gpus)] for i in range(count)]
    return [
        LocalWorker({"CUDA_VISIBLE_DEVICES": device, **memory_settings}, preload=preload)
        for device in devices
    ]


def _limit_gpu_memory(trials_per_gpu: float) -> dict[str, str]:
    """Return settings with which several trials at once fit in one GPU's memory."""
    if trials_per_gpu <= 1:
        return {}
    share = f"{MEMORY_FRACTION / math.ceil(trials_per_gpu):.3f}"
    settings = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_MEM_FRACTION": share}
    return {name: os.environ.get(name, value) for name, value in settings.items()}


def divide_cores(count: int) -> list[list[int]]:
    """Divide this process' cores into `count` parts of equal size.

    The parts are empty if there are too few cores. They have equal size, because the number of
    threads changes how sums are rounded, and a trial must give the same figures on every worker.
    """
    try:
        cores = sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = []
    size = len(cores) // count
    return [cores[i * size : (i + 1) * size] for i in range(count)]


def _count_memory_kills() -> int:
    """Count the processes killed for want of memory since the system started."""
    try:
        counts = dict(line.split() for line in VMSTAT.read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):  # not Linux
        return 0


def _run_function(function: str, args: tuple[Any, ...]) -> Any:
    _call_state.update(running=True, interrupted=False)
    try:
        return resolve_name(function)(*args)
    finally:
        _call_state["running"] = False


def _init_worker(settings: Mapping[str, str], cores: Sequence[int]) -> None:
    keep_freed_memory()
    os.environ.update(settings)
    if cores:
        os.sched_setaffinity(0, cores)  # TensorFlow then starts as many threads
    atexit.register(_exit_fast)  # registered first, so that it is called last
    # Ctrl-C is for the driver, which shares the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_call_or_process)
    signal.signal(signal.SIGUSR1, _raise_interrupt)
    _end_with_parent()


def _exit_fast() -> None:
    """End the process at once.

    A regular exit takes more than a second, because TensorFlow is taken apart.
    """
    with contextlib.suppress(OSError):  # the reader has gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _raise_interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # Interrupt a call only once, so that its clean-up is not cut off.
    if _call_state["running"] and not _call_state["interrupted"]:
        _call_state["interrupted"] = True
        raise KeyboardInterrupt


def _end_call_or_process(signum: int, frame: FrameType | None) -> None:
    """Interrupt the call under way, or end the process if it is idle.

    systemd and `timeout` send SIGTERM to all processes of a command. The driver's is then a request
    to stop, so the worker's must not look like a crash. If the driver gets none, somebody stopped
    this worker alone, and the driver replaces it.
    """
    if not _call_state["running"]:
        os._exit(128 + signum)
    _raise_interrupt(signum, frame)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def exit_after_parent() -> None:
        parent.join()
        # No clean-up: nobody is left to receive the result, and the training state is on disk.
        os._exit(1)

    threading.Thread(target=exit_after_parent, daemon=True).start()
