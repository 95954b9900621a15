"""Simulate a worker: make all requests of a driver and its trial to the servers.

It goes through the project's own code, in one process instead of two, and does not train. Loads no
TensorFlow.
"""

import contextlib
import time
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna

from benchmarks.load.clock import Answer
from benchmarks.load.clock import Clock
from benchmarks.load.clock import TimedClient
from study.common.errors import StudyError
from study.config import fingerprint
from study.config import recipe
from study.config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.search import pruning
from study.search.claims import Claims
from study.search.samplers import make_sampler
from study.search.search_scheduler import Bounds
from study.search.search_scheduler import Search
from study.search.space import make_space
from study.search.storage import Storage
from study.tracking import connection
from study.tracking import queries
from study.tracking.run_logger import RunLog
from study.tracking.trial_run import open_run
from study.tracking.trial_run import RunSpec
from study.workers.pool import PAUSE
from study.workers.pool import StepResult

EPOCHS = 30
METRIC = "val_accuracy"
DIGEST = "0" * 64
START = 600  # s, for all workers to be ready
# What an epoch and a finished trial write, by name; the values mean nothing, and none is pruned
EPOCH = {"loss": 0.1, "accuracy": 0.9, "val_loss": 0.1, METRIC: 1.0, "val_auc": 0.9, "seconds": 0.1}
FIGURES = dict.fromkeys(
    ("test_loss", "test_accuracy", "hidden_units", "dead_units", "epochs_run", "fit_seconds",
     "images_per_second", "leak_fraction", "test_groups", "total_seconds"), 0.5)  # fmt: skip
TAGS = {"dataset": "chest", "split": "grouped", "variant": "none", "weights_kind": "imagenet",
        "data_digest": DIGEST, "protocol_version": "2", "sizes": "3750/936/1170", "leak": "0/1170",
        "skipped": "0", "code_version": "0" * 12, "role": "search"}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What the workers of one measurement do."""

    study: str
    trials: int  # in the study at the end, earlier ones included
    files: str  # folder with a trial's artifacts
    parent: str  # run id
    sampler: str
    seconds_per_epoch: float


class Untrained:
    """A worker that writes a trial's whole record without training."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan, self.clock = plan, clock

    def call(self, function: str, config: TrialConfig, options: Options) -> Outcome:  # noqa: ARG002
        """Do what `study.train.train` does with the servers."""
        key, client = fingerprint(config, DIGEST), TimedClient(self.clock)
        with self.clock("finding"):
            connection.connect()
            if (run := queries.find_finished_run(client, key)) is not None:
                return queries.read_outcome(run)
        place = RunSpec("chest", config.title, key, options.parent)
        with contextlib.ExitStack() as stack:
            with self.clock("opening"):
                log = stack.enter_context(open_run(client, place, resumable=False))
            self._record(log, config, options)
        return Outcome(log.run_id, EPOCH[METRIC], 0.5, 0.5)

    def _record(self, log: RunLog, config: TrialConfig, options: Options) -> None:
        assert options.watch is not None
        log.log_params(config.as_dict())
        log.log_tags(TAGS)
        log.log_dataset("chest", "https://www.kaggle.com", DIGEST)
        for number in range(1, EPOCHS + 1):
            time.sleep(self.plan.seconds_per_epoch)
            log.log_epoch({"epoch": number} | EPOCH)
            with self.clock("judging"):
                pruning.report_epoch(*options.watch.args, {"epoch": number} | EPOCH)
        log.log_folder(Path(self.plan.files))
        log.log_metrics(FIGURES | {METRIC: 1.0}, step=0)
        log.log_tags({"finished": "true"})

    def interrupt(self) -> None:
        """Do nothing, as no process trains."""

    def close(self) -> None:
        """Do nothing, as nothing is open."""


def _search(plan: Plan, clock: Clock) -> Search:
    with clock("joining"):  # reads all trials
        claims = Claims(Storage(plan.study), "maximize")
        claims.trials()
    claims.study.sampler = make_sampler(plan.sampler, None)
    take_turn = claims.under_lock

    def timed(do: Any) -> Any:
        def mine() -> Any:
            with clock("turn"):
                return do()

        with clock("claim"):
            return take_turn(mine)

    claims.under_lock = timed  # type: ignore[method-assign]
    space, bounds = make_space(recipe("chest")), Bounds(plan.trials)
    options = Options(parent=plan.parent)
    search = Search(claims, space, METRIC, DIGEST, connection.connect(), bounds, options=options)
    search.progress.console.quiet = True
    return search


def _hush() -> None:
    warnings.simplefilter("ignore")  # of heartbeats outside Study.optimize
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def work(plan: Plan, ready: Barrier, answers: Connection) -> None:
    """Take turns until the study has its trials, then send the seconds of each call."""
    _hush()
    clock, gave_up = Clock(), ""
    search: Search | None = None
    try:
        search = _search(plan, clock)
    except StudyError as error:
        gave_up = connection.describe_error(error)
    ready.wait(START)
    begun = ended = time.time()
    cpu = time.process_time()
    worker = Untrained(plan, clock)
    try:
        while search is not None and (step := search.step(worker)) is not StepResult.END:
            if step is StepResult.WAIT:
                time.sleep(PAUSE)
            else:
                ended = time.time()
    except StudyError as error:
        gave_up = connection.describe_error(error)
    trained = 0 if search is None else search.trained
    told = (dict(clock.seconds), dict(clock.errors), begun, ended, time.process_time() - cpu)
    answers.send(Answer(*told, trained, gave_up))
