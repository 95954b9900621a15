"""Join a Ray cluster, and count what its machines can run at once."""

import importlib
import logging
import os
import re
import socket
from typing import Any

from study.common.errors import first_line
from study.common.errors import StudyError
from study.common.settings import read_setting

# With these settings, the driver shows only lines that begin with a label, such as `[3/7] `, and
# shows them unchanged. Ray reads the settings when it is imported.
LOG_SETTINGS = {
    "RAY_DISABLE_WORKER_LOG_PREFIX": "1",
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_ALLOW_REGEX": r"^\[",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "RAY_SCHEDULER_EVENTS": "0",
}


def connect(address: str, gpus: float = 0) -> int:
    """Join a running cluster and return how many calls it can run at once.

    Args:
        address: `auto` for the cluster that this machine is part of, or HOST:PORT of its head.
        gpus: GPUs that a call takes, such as 1 or 0.5. With 0 it takes the cores of a machine.

    Raises:
        StudyError: there is no Ray, no such cluster, no such GPUs, or no MLflow that all machines
            can reach.
    """
    if not 0 <= gpus < 1 and gpus != round(gpus):
        raise StudyError(f"gpus={gpus:g} is neither a fraction of one GPU nor a whole number")
    uri = read_setting("MLFLOW_TRACKING_URI")
    if not uri or re.match(r"sqlite:///(?!/)", uri):
        raise StudyError("--engine ray needs an MLflow server: set MLFLOW_TRACKING_URI")
    ray = load_ray()
    try:
        _check_reachable(address)
        ray.init(address, logging_level=logging.CRITICAL, ignore_reinit_error=True)
    except Exception as error:  # the address, the versions or the login may be wrong
        raise StudyError(f"no Ray cluster at {address}: {first_line(error)}") from error
    machines = _list_machines(gpus)
    cores = count_cores(gpus)
    if not machines:
        requirement = f"{gpus:g} GPU" if gpus else "a core"
        raise StudyError(f"no machine of the Ray cluster has {requirement}: see ray status")
    return sum(
        int(machine["GPU"] / gpus if gpus else machine["CPU"] / cores) for machine in machines
    )


def load_ray() -> Any:
    """Return the package ray, set up to print little.

    Raises:
        StudyError: it is not installed.
    """
    try:
        os.environ.update(LOG_SETTINGS)
        # Imported late, because it takes a second and most commands do without.
        return importlib.import_module("ray")
    except ImportError:
        raise StudyError("--engine ray needs the package ray: pip install ray") from None


def _check_reachable(address: str) -> None:
    """Raise if nothing answers at the address.

    Ray itself would try for minutes, and print about it.
    """
    services = importlib.import_module("ray._private.services")
    host, _, port = services.canonicalize_bootstrap_address(address).rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def _list_machines(gpus: float) -> list[dict[str, float]]:
    """Return the resources of the machines that can run a call.

    The resources are numbers by name, such as `CPU` and `GPU`.
    """
    machines = [node["Resources"] for node in load_ray().nodes() if node["Alive"]]
    return [
        machine
        for machine in machines
        if machine.get("CPU", 0) >= 1 and machine.get("GPU", 0) >= gpus
    ]


def count_cores(gpus: float) -> int:
    """Return how many cores a call takes.

    Without GPUs, these are all cores of the smallest machine. With GPUs, they are the part of a
    machine's cores that matches the call's part of its GPUs, on the machine where that is least.
    """
    shares = [
        machine["CPU"] * (gpus / machine["GPU"] if gpus else 1) for machine in _list_machines(gpus)
    ]
    return int(min(shares, default=1))
