"""Run calls on a Ray cluster, each as a task on one of its machines.

On each machine, `ray start` is called in a checkout of this project, with its environment. The
driver runs on one of the machines. DATA_DIR, STUDY_CACHE and the like are each machine's own, from
its environment or `.env`. Addresses and passwords of the servers come from the driver.
"""

import functools
import math
import os
import pickle
import re
import signal
import socket
import time
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from dotenv import load_dotenv

from study.common.errors import StudyError
from study.common.errors import WorkerDied
from study.common.memory import keep_freed_memory
from study.common.settings import trim_environment
from study.config.fingerprint import PROTOCOL_VERSION
from study.workers.ray_machines import count_cores
from study.workers.ray_machines import load_ray

RETRIES = 3  # by Ray, on any machine, if the process or machine of a call went away
CANCEL_AGAIN_SECONDS = 10
STOP_SECONDS = 60  # for an interrupted call to clean up
# The driver's settings for a task. They are passed as an argument of the task, because Ray shows a
# `runtime_env` in its logs and on its dashboard.
DRIVER_SETTINGS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_EXPERIMENT_ID",
    "STUDY_STORAGE",
    "PGPASSWORD",
    "KERAS_BACKEND",
)
# Without these, the first of the trials on a GPU takes all of its memory.
GPU_SHARING_SETTINGS = {
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


class RayWorker:
    """A worker that runs one call at a time on some machine of the cluster.

    `ray_machines.connect` must be called first. Each call has a process of its own. A call whose
    process or machine goes away is run again, so it must be safe to repeat. A call waits until the
    cluster has room for it.
    """

    def __init__(self, gpus: float = 0) -> None:
        self._gpus = gpus
        self._running_task: Any = None  # Ray's reference to the value to come
        self._cancel_time = -math.inf  # of the last cancellation, by `time.monotonic`
        self._interrupted = False

    def call(self, function: str, *args: Any) -> Any:
        """Call a function on the cluster and return its value.

        Args:
            function: as `package.module:name`.
            *args: its arguments.

        Raises:
            WorkerDied: its process or machine failed, also in every retry.
            KeyboardInterrupt: it was interrupted, here or there.
            Exception: whatever the function raises.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        ray = load_ray()
        task = _make_task().options(num_gpus=self._gpus, num_cpus=count_cores(self._gpus))
        work = pickle.dumps((function, args))
        self._running_task = task.remote(work, _collect_settings(self._gpus), PROTOCOL_VERSION)
        try:
            return ray.get(self._running_task)
        except KeyboardInterrupt:
            self.interrupt()
            ray.wait([self._running_task], timeout=STOP_SECONDS)
            raise
        except ray.exceptions.RayError as error:
            raise self._translate(error) from error
        finally:
            self._running_task = None

    def _translate(self, error: Any) -> BaseException:
        """Return the exception to raise instead of Ray's error."""
        translated = _translate_error(error)
        if isinstance(translated, KeyboardInterrupt) and not self._interrupted:
            return WorkerDied("its task was cancelled")
        return translated

    def interrupt(self) -> None:
        """End the call under way as Ctrl-C would, and refuse later ones.

        Any thread may call this. It must be repeated until the call has ended.
        """
        self._interrupted = True
        self.cancel()

    def cancel(self) -> None:
        """End the call under way with WorkerDied, after its clean-up.

        Any thread may call this. It must be repeated until the call has ended.
        """
        task = self._running_task
        now = time.monotonic()
        # Ray may lose a cancellation, but a second one too soon would cut off the clean-up.
        if task is not None and now - self._cancel_time > CANCEL_AGAIN_SECONDS:
            self._cancel_time = now
            load_ray().cancel(task, force=False)

    def close(self) -> None:
        """End the call under way, if there is one."""
        self.interrupt()


def _collect_settings(gpus: float) -> dict[str, str]:
    settings = {name: os.environ[name] for name in DRIVER_SETTINGS if name in os.environ}
    return settings | (GPU_SHARING_SETTINGS if 0 < gpus < 1 else {})


@functools.cache
def _make_task() -> Any:
    def trial(work: bytes, settings: dict[str, str], protocol: int) -> Any:
        # A nested function is sent as code, because the other machine may lack this file.
        import os
        import sys
        from pathlib import Path

        os.environ.update(settings)
        sys.path.insert(0, str(Path.cwd()))  # where `ray start` was called
        from study.workers.ray_cluster import run_here

        return run_here(work, protocol)

    # Each trial gets a new process, although its imports take some seconds. A process that is kept
    # would also keep TensorFlow's leaks, memory of a GPU, and the GPU that it first had.
    return load_ray().remote(max_calls=1, max_retries=RETRIES, retry_exceptions=False)(trial)


def run_here(work: bytes, protocol: int) -> Any:
    """Run a pickled call on the machine where the task is.

    Args:
        work: the pickled function name and arguments.
        protocol: the driver's `PROTOCOL_VERSION`.

    Raises:
        StudyError: this checkout's training would give other numbers than the driver's.
    """
    if protocol != PROTOCOL_VERSION:
        raise StudyError(
            f"{socket.gethostname()}: {Path.cwd()} is of another version than the driver: "
            "update it, then call ray stop and ray start there"
        )
    # Ray interrupts by SIGINT, which processes that a shell starts in the background ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    keep_freed_memory()
    load_dotenv(".env")
    trim_environment()
    function, args = pickle.loads(work)
    return resolve_name(function)(*args)


def _translate_error(error: Any) -> BaseException:
    """Return the exception to raise instead of Ray's error."""
    cause = getattr(error, "cause", None)
    if isinstance(error, load_ray().exceptions.TaskCancelledError):
        return KeyboardInterrupt()
    own_modules = ("study", "study.workers.ray_cluster")
    if isinstance(cause, ModuleNotFoundError) and cause.name in own_modules:
        address = re.search(r"\bip=([^,)]+)", str(error))
        return StudyError(
            f"{address[1] if address else 'a machine'}: {cause}: "
            "call ray stop and ray start there again, in a checkout of this project"
        )
    if isinstance(cause, Exception):
        return cause
    return WorkerDied(
        "its process or machine failed repeatedly: repeat the command to continue "
        f"({type(error).__name__})"
    )
