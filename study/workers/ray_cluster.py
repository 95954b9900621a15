"""How work is executed on a Ray cluster: as a task on one of its machines.

The machines are started with `ray start` in a checkout of this project, with its environment, and
the driver runs on one of them. DATA_DIR, STUDY_CACHE and the like are each machine's own, from its
environment or `.env`; addresses and passwords of the servers come from the driver.
"""

import functools
import importlib
import logging
import math
import os
import pickle
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

from dotenv import load_dotenv

from study.common.errors import StudyError
from study.common.errors import WorkerDied
from study.config import PROTOCOL_VERSION

RETRIES = 3  # by Ray, on any machine, of a call whose process or machine went away
CANCEL_AGAIN_SECONDS = 10
STOP_SECONDS = 60  # for an interrupted call to put its affairs in order
# Passed on as an argument of the task: Ray shows a `runtime_env` in its logs and on its dashboard.
SETTINGS = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
    *("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "STUDY_STORAGE", "PGPASSWORD"),
    "KERAS_BACKEND",
)
# Or the first of the trials on a GPU takes all of its memory
SHARING = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
# Of all that processes and Ray itself print on any machine, the driver shows the lines that begin
# with a label, such as `[3/7] `, as they are. Ray reads these when it is imported.
PLAIN = {
    "RAY_DISABLE_WORKER_LOG_PREFIX": "1",
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_ALLOW_REGEX": r"^\[",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "RAY_SCHEDULER_EVENTS": "0",
}


def connect(address: str, gpus: float = 0) -> int:
    """Join a running cluster; how many calls it has room for at once.

    Args:
        address: `auto` for the cluster that this machine is part of, or HOST:PORT of its head.
        gpus: what a call takes, such as 1 or 0.5; with 0 it takes the cores of a machine.

    Raises:
        StudyError: no Ray, no such cluster, no such GPUs, or no MLflow that all machines reach.
    """
    if not 0 <= gpus < 1 and gpus != round(gpus):
        raise StudyError(f"gpus={gpus:g} is neither a part of one GPU nor a whole number of them")
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri or re.match(r"sqlite:///(?!/)", uri):
        raise StudyError("--engine ray needs an MLflow server: set MLFLOW_TRACKING_URI")
    ray = _ray()
    try:
        _knock(address)
        ray.init(address, logging_level=logging.CRITICAL, ignore_reinit_error=True)
    except Exception as error:  # whatever is wrong with the address, the versions or the login
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise StudyError(f"no Ray cluster at {address}: {reason}") from error
    machines, cores = _machines(gpus), _cores(gpus)
    if not machines:
        wanted = f"{gpus:g} GPU" if gpus else "a core"
        raise StudyError(f"no machine of the Ray cluster has {wanted}: see ray status")
    return sum(int(has["GPU"] / gpus if gpus else has["CPU"] / cores) for has in machines)


class RayWorker:
    """One call at a time, in a process of its own on a machine of the cluster; after `connect`.

    A call whose process or machine goes away is run again, so it must be safe to repeat. One that
    finds no room waits for it.
    """

    def __init__(self, gpus: float = 0) -> None:
        self._gpus = gpus
        self._running: Any = None  # what stands for the value to come
        self._cancelled = -math.inf  # when, by the clock of `time.monotonic`
        self._interrupted = False

    def call(self, function: str, *args: Any) -> Any:
        """The value of `function` (as `package.module:name`) for `args`, worked out over there.

        Raises:
            WorkerDied: its process or machine went away, and so in every retry.
            KeyboardInterrupt: it was interrupted, here or there.
            Exception: whatever the function raises.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        ray = _ray()
        task = _task().options(num_gpus=self._gpus, num_cpus=_cores(self._gpus))
        work = pickle.dumps((function, args))
        self._running = task.remote(work, _settings(self._gpus), PROTOCOL_VERSION)
        try:
            return ray.get(self._running)
        except KeyboardInterrupt:
            self.interrupt()
            ray.wait([self._running], timeout=STOP_SECONDS)
            raise
        except ray.exceptions.RayError as error:
            raise _reason(error) from error
        finally:
            self._running = None

    def interrupt(self) -> None:
        """End the call under way as Ctrl-C would, and refuse later ones. Called by any thread.

        To be repeated until the call has ended.
        """
        self._interrupted = True
        running, now = self._running, time.monotonic()
        # Ray may lose one, and a second one too soon would cut off the cleaning up
        if running is not None and now - self._cancelled > CANCEL_AGAIN_SECONDS:
            self._cancelled = now
            _ray().cancel(running, force=False)

    def close(self) -> None:
        """End the call under way, if there is one."""
        self.interrupt()


def _ray() -> Any:
    try:
        os.environ.update(PLAIN)
        return importlib.import_module("ray")  # late: it takes a second, and most do without
    except ImportError:
        raise StudyError("--engine ray needs the package ray: pip install ray") from None


def _knock(address: str) -> None:
    """Raise if nobody is there: Ray would ask for minutes, and print about it."""
    services = importlib.import_module("ray._private.services")
    host, _, port = services.canonicalize_bootstrap_address(address).rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def _machines(gpus: float) -> list[dict[str, float]]:
    """What each living machine that can run a call at all has of `CPU` and `GPU`."""
    living = [node["Resources"] for node in _ray().nodes() if node["Alive"]]
    return [has for has in living if has.get("CPU", 0) >= 1 and has.get("GPU", 0) >= gpus]


def _cores(gpus: float) -> int:
    """A call's share: as many as the smallest machine has, or has for these GPUs."""
    shares = [has["CPU"] * (gpus / has["GPU"] if gpus else 1) for has in _machines(gpus)]
    return int(min(shares, default=1))


def _settings(gpus: float) -> dict[str, str]:
    given = {name: os.environ[name] for name in SETTINGS if name in os.environ}
    return given | (SHARING if 0 < gpus < 1 else {})


@functools.cache
def _task() -> Any:
    def trial(work: bytes, settings: dict[str, str], protocol: int) -> Any:
        # A function within a function travels as code: the other machine may lack this file
        import os
        import sys
        from pathlib import Path

        os.environ.update(settings)
        sys.path.insert(0, str(Path.cwd()))  # where `ray start` was called
        from study.workers.ray_cluster import run_here

        return run_here(work, protocol)

    # A process for each trial: one that is kept would keep TensorFlow's leaks, memory of a GPU,
    # and the GPU it was first given. A new one takes some seconds, for its imports.
    return _ray().remote(max_calls=1, max_retries=RETRIES, retry_exceptions=False)(trial)


def run_here(work: bytes, protocol: int) -> Any:
    """On the other machine: the value of the pickled function name for the pickled arguments.

    Raises:
        StudyError: this checkout would train to other numbers than the driver's.
    """
    if protocol != PROTOCOL_VERSION:
        raise StudyError(
            f"{socket.gethostname()}: {Path.cwd()} is of another version than the driver: "
            "update it, then call ray stop and ray start there"
        )
    # what a shell starts in the background ignores it, and Ray interrupts by it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    load_dotenv(".env")
    function, args = pickle.loads(work)
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)(*args)


def _reason(error: Any) -> BaseException:
    """What to raise instead of Ray's error."""
    known, cause = _ray().exceptions, getattr(error, "cause", None)
    if isinstance(error, known.TaskCancelledError):
        return KeyboardInterrupt()
    if isinstance(cause, ModuleNotFoundError) and cause.name in (
        "study",
        "study.workers.ray_cluster",
    ):
        found = re.search(r"\bip=([^,)]+)", str(error))
        return StudyError(
            f"{found[1] if found else 'a machine'}: {cause}: "
            "call ray stop and ray start there again, in a checkout of this project"
        )
    if isinstance(cause, Exception):
        return cause
    return WorkerDied(
        "its process or machine went away, again and again: the same command goes on with it "
        f"({type(error).__name__})"
    )
