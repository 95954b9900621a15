"""Measure the cores, memory and connections of the servers of benchmarks.load."""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import psutil
from sqlalchemy import create_engine
from sqlalchemy import text

PAUSE = 1.0  # seconds between two measurements


@dataclass
class Usage:
    """The usage of the servers `MLflow` and `PostgreSQL` while workers record trials."""

    cores: dict[str, float] = field(default_factory=dict)  # busy ones, the mean
    memory: dict[str, float] = field(default_factory=dict)  # MiB at most; shared pages count once
    connections: int = 0  # to PostgreSQL, at most


def find_servers() -> dict[str, psutil.Process]:
    """Return the servers, which must be the only child processes so far."""
    children = psutil.Process().children()
    return {"PostgreSQL" if each.name() == "postgres" else "MLflow": each for each in children}


def sum_cpu_seconds(process: psutil.Process) -> float:
    """Sum the CPU seconds of a process and its descendants, ended ones included."""
    times = process.cpu_times()
    seconds = times.children_user + times.children_system
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds += sum(each.cpu_times()[:2])
    return float(seconds)


def sum_memory(process: psutil.Process) -> float:
    """Sum the MiB of a process and its descendants.

    Each of n processes that share a page counts 1/n of it.
    """
    total = 0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().pss
    return total / 2**20


def count_refusals(log: Path) -> int:
    """Count the connections that PostgreSQL refused or broke off, by its log."""
    return log.read_text(errors="replace").count("FATAL:")


@contextmanager
def measure_usage(servers: dict[str, psutil.Process], address: str) -> Iterator[Usage]:
    """Measure the servers' usage while the block runs.

    The yielded usage is complete when the block has ended.

    Args:
        servers: processes by name.
        address: of any database of the PostgreSQL server.
    """
    usage = Usage(memory=dict.fromkeys(servers, 0.0))
    end = threading.Event()
    engine = create_engine(address)

    def measure_repeatedly() -> None:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE client_port IS NOT NULL")
        with engine.connect() as connection:
            while not end.wait(PAUSE):
                count = connection.execute(query).scalar_one() - 1  # without this one
                connection.rollback()
                usage.connections = max(usage.connections, count)
                for name, process in servers.items():
                    usage.memory[name] = max(usage.memory[name], sum_memory(process))

    thread = threading.Thread(target=measure_repeatedly)
    thread.start()
    start = time.time()
    seconds_before = {name: sum_cpu_seconds(process) for name, process in servers.items()}
    try:
        yield usage
    finally:
        passed = time.time() - start
        usage.cores = {
            name: (sum_cpu_seconds(process) - seconds_before[name]) / passed
            for name, process in servers.items()
        }
        end.set()
        thread.join()
        engine.dispose()
