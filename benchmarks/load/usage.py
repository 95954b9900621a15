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

PAUSE = 1.0  # s between two looks


@dataclass
class Usage:
    """Usage during one measurement, by server: `MLflow` and `PostgreSQL`."""

    cores: dict[str, float] = field(default_factory=dict)  # busy ones, in the mean
    memory: dict[str, float] = field(default_factory=dict)  # MiB at most, shared pages once
    connections: int = 0  # to PostgreSQL, at most


def servers_below() -> dict[str, psutil.Process]:
    """Return the servers, which must be the only processes started so far."""
    found = psutil.Process().children()
    return {"PostgreSQL" if p.name() == "postgres" else "MLflow": p for p in found}


def seconds_of(process: psutil.Process) -> float:
    """Sum the CPU seconds of a process and its descendants, ended ones included."""
    own = process.cpu_times()
    spent = own.children_user + own.children_system
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            spent += sum(one.cpu_times()[:2])
    return float(spent)


def memory_of(process: psutil.Process) -> float:
    """Sum the MiB of a process and its descendants.

    Of a page that n processes share, each counts 1/n.
    """
    total = 0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += one.memory_full_info().pss
    return total / 2**20


def refusals(log: Path) -> int:
    """Count the connections that PostgreSQL's log says it refused or broke off."""
    return log.read_text(errors="replace").count("FATAL:")


@contextmanager
def watched(servers: dict[str, psutil.Process], address: str) -> Iterator[Usage]:
    """Measure the usage while the block runs, complete once it has ended.

    Args:
        servers: processes by name.
        address: of any database of the PostgreSQL server.
    """
    usage, end = Usage(memory=dict.fromkeys(servers, 0.0)), threading.Event()
    engine = create_engine(address)

    def look() -> None:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE client_port IS NOT NULL")
        with engine.connect() as connection:
            while not end.wait(PAUSE):
                count = connection.execute(query).scalar_one() - 1  # our own
                connection.rollback()
                usage.connections = max(usage.connections, count)
                for name, process in servers.items():
                    usage.memory[name] = max(usage.memory[name], memory_of(process))

    thread = threading.Thread(target=look)
    thread.start()
    begun = time.time()
    before = {name: seconds_of(process) for name, process in servers.items()}
    try:
        yield usage
    finally:
        passed = time.time() - begun
        usage.cores = {n: (seconds_of(p) - before[n]) / passed for n, p in servers.items()}
        end.set()
        thread.join()
        engine.dispose()
