"""Make the requests of a driver and its trials, without training.

The requests go through the project's own code, in one process instead of two. TensorFlow is not
loaded.
"""

import contextlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna

from benchmarks.load.clock import Clock
from benchmarks.load.clock import TimedClient
from benchmarks.load.clock import WorkerResult
from study.common.errors import StudyError
from study.config.fingerprint import fingerprint
from study.config.names import make_trial_title
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.job import Options
from study.job import Outcome
from study.search import pruning
from study.search.claims import Claims
from study.search.samplers import make_sampler
from study.search.search_plan import Bounds
from study.search.search_scheduler import SearchScheduler
from study.search.space import make_space
from study.search.storage import Storage
from study.tracking import connection
from study.tracking import failures
from study.tracking import queries
from study.tracking.end_runs import find_finished_run
from study.tracking.run_logger import RunLog
from study.tracking.trial_run import open_run
from study.tracking.trial_run import RunSpec
from study.workers.pool import PAUSE
from study.workers.pool import StepResult

EPOCHS = 30
METRIC = "val_accuracy"
DIGEST = "0" * 64
START_SECONDS = 600  # within which all workers must be ready
# The figures of an epoch. Their values mean nothing, except that no trial is pruned.
EPOCH = {"loss": 0.1, "accuracy": 0.9, "val_loss": 0.1, METRIC: 1.0, "val_auc": 0.9, "seconds": 0.1}
FIGURE_NAMES = (
    *("test_loss", "test_accuracy", "hidden_units", "dead_units", "epochs_run", "fit_seconds"),
    *("images_per_second", "leak_fraction", "test_groups", "total_seconds"),
)
TAGS = {
    "dataset": "chest",
    "split": "grouped",
    "variant": "none",
    "weights_kind": "imagenet",
    "data_digest": DIGEST,
    "protocol_version": "2",
    "sizes": "3750/936/1170",
    "leak": "0/1170",
    "skipped": "0",
    "code_version": "0" * 12,
    "role": "search",
}


@dataclass(frozen=True)
class Plan:
    """The task of the workers of one measurement."""

    study: str
    trials: int  # in the study at the end, earlier ones included
    files: str  # the folder with a trial's artifacts
    parent: str  # id of the parent run
    sampler: str
    seconds_per_epoch: float


class StubWorker:
    """A worker that writes a trial's whole record without training."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan = plan
        self.clock = clock

    def call(self, function: str, config: TrialConfig, options: Options) -> Outcome:  # noqa: ARG002
        """Make the requests that `train_config` makes to the servers."""
        key = fingerprint(config, DIGEST)
        client = TimedClient(self.clock)
        with self.clock.time_call("finding"):
            connection.connect()
            if (run := find_finished_run(client, key)) is not None:
                return queries.read_outcome(run)
        spec = RunSpec("chest", make_trial_title(config, DIGEST), key, options.parent)
        with contextlib.ExitStack() as stack:
            with self.clock.time_call("opening"):
                log = stack.enter_context(open_run(client, spec, resumable=False))
            self._record(log, config, options)
        return Outcome(log.run_id, EPOCH[METRIC], 0.5, 0.5)

    def _record(self, log: RunLog, config: TrialConfig, options: Options) -> None:
        assert options.watch is not None
        report_epoch: Callable[..., object] = pruning.report_epoch
        log.log_params(config.as_dict())
        log.log_tags(TAGS)
        log.log_dataset("chest", "https://www.kaggle.com", DIGEST)
        for number in range(1, EPOCHS + 1):
            time.sleep(self.plan.seconds_per_epoch)
            log.log_epoch({"epoch": number} | EPOCH)
            with self.clock.time_call("judging"):
                report_epoch(*options.watch.args, {"epoch": number} | EPOCH)
        log.log_folder(Path(self.plan.files))
        log.log_metrics(dict.fromkeys(FIGURE_NAMES, 0.5) | {METRIC: 1.0}, step=0)
        log.log_tags({"finished": "true"})

    def cancel(self) -> None:
        """Do nothing, because no process trains."""

    def interrupt(self) -> None:
        """Do nothing, because no process trains."""

    def close(self) -> None:
        """Do nothing, because nothing is open."""


def _open_search(plan: Plan, clock: Clock) -> SearchScheduler:
    """Open the search as a driver does, with its calls timed."""
    with clock.time_call("joining"):  # reads all trials
        claims = Claims(Storage(plan.study), "maximize")
        claims.trials()
    claims.study.sampler = make_sampler(plan.sampler, None)
    under_lock = claims.under_lock

    def run_locked(action: Any) -> Any:
        def run_action() -> Any:
            with clock.time_call("lock"):
                return action()

        return under_lock(run_action)

    claims.under_lock = run_locked  # type: ignore[method-assign]
    space = make_space(recipe("chest"))
    bounds = Bounds(plan.trials)
    options = Options(parent=plan.parent)
    search = SearchScheduler(
        claims, space, METRIC, DIGEST, connection.connect(), bounds, options=options
    )
    search.progress.console.quiet = True
    claim_next = search.claim_next

    def claim_timed() -> Any:
        with clock.time_call("claim"):
            return claim_next()

    search.claim_next = claim_timed  # type: ignore[method-assign]
    return search


def _silence_libraries() -> None:
    warnings.simplefilter("ignore")  # Optuna warns of heartbeats outside Study.optimize
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def run_worker(plan: Plan, ready: Barrier, results: Connection) -> None:
    """Take turns until the study has its trials, then send a `WorkerResult`."""
    _silence_libraries()
    clock = Clock()
    gave_up = ""
    search: SearchScheduler | None = None
    try:
        search = _open_search(plan, clock)
    except StudyError as error:
        gave_up = failures.describe_error(error)
    ready.wait(START_SECONDS)
    started_at = time.time()
    ended_at = started_at
    cpu_start = time.process_time()
    worker = StubWorker(plan, clock)
    try:
        while search is not None and (step := search.step(worker)) is not StepResult.END:
            if step is StepResult.WAIT:
                time.sleep(PAUSE)
            else:
                ended_at = time.time()
    except StudyError as error:
        gave_up = failures.describe_error(error)
    result = WorkerResult(
        seconds=dict(clock.seconds),
        errors=dict(clock.errors),
        started_at=started_at,
        ended_at=ended_at,
        cpu_seconds=time.process_time() - cpu_start,
        trained=0 if search is None else search.trained,
        gave_up=gave_up,
    )
    results.send(result)
