"""Train one config into a record without MLflow, and several on workers."""

import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from queue import SimpleQueue
from typing import Any

from study.common.errors import Pruned
from study.common.files import exclusive_lock
from study.common.progress import Progress
from study.config.trial_config import TrialConfig
from study.job import Options
from study.search.grid_plan import Cell
from study.tracking.journal import is_finished
from study.tracking.journal import Journal
from study.tracking.operations import now_ms
from study.tracking.operations import Operation
from study.tracking.run_logger import RunLog
from study.trial.prepare import check_images_unchanged
from study.trial.prepare import prepare_trial
from study.trial.record import train_and_record
from study.workers.pool import Scheduler
from study.workers.pool import StepResult
from study.workers.pool import Worker

STATE = "state"  # the folder of the training state in a record that is not finished


@dataclass(frozen=True)
class Job:
    """One config to train, as it is sent to the process that trains it."""

    config: TrialConfig
    title: str
    key: str  # the fingerprint, which names the record's folder in `out`
    out: Path
    study: Mapping[str, Any]  # name, title and params of the run above this one in MLflow
    options: Options

    @property
    def record(self) -> Journal:
        """Return the record of the config."""
        return Journal(self.out / self.key)


class JobScheduler(Scheduler[Cell]):
    """The jobs of a plan, each trained by the next worker that is free."""

    def __init__(self, jobs: Mapping[Cell, Job], end: float) -> None:
        self.progress = Progress()
        self.jobs = jobs
        self.end = end  # by time.monotonic
        self.failed: dict[Cell, str] = {}
        self.in_time = True  # whether all jobs ended before the time was up
        self._remaining: SimpleQueue[Cell] = SimpleQueue()
        for cell, job in jobs.items():
            if not is_finished(job.record):
                self._remaining.put(cell)

    def claim_next(self) -> Cell | StepResult:
        """Return the next remaining config, unless the time is up."""
        try:
            cell = self._remaining.get_nowait()
        except Empty:
            return StepResult.END
        if check_deadline(self.end, {}):
            self.in_time = False
            return StepResult.END
        return cell

    def train(self, task: Cell, worker: Worker) -> None:
        """Train a config on a worker.

        Raises:
            TrialFailed: training cannot give a result.
            WorkerDied: the worker crashed, or was killed.
        """
        try:
            worker.call("study.offline_job:train_job", self.jobs[task])
        except Pruned:
            self.in_time = False

    def note_failure(self, task: Cell, reason: str) -> None:
        """Note that the training of a config failed."""
        self.failed[task] = reason
        self.progress.say(f"{self.jobs[task].options.label}{task} failed: {reason}")

    def count_finished(self) -> int:
        """Count the finished records."""
        return sum(is_finished(job.record) for job in self.jobs.values())


def train_job(job: Job) -> None:
    """Train the remaining epochs of a config into its record.

    Raises:
        Pruned: the time is up; the next call continues from the last epoch.
        TrialFailed: training cannot give a result.
    """
    started = time.perf_counter()
    options = job.options
    folder = job.record.folder
    progress = Progress(options.label, bars=not options.plain_progress)
    with exclusive_lock(folder):
        if is_finished(job.record):  # another call has finished it meanwhile
            return
        progress.say(job.title)
        trial = prepare_trial(job.config, progress, use_cache=options.use_cache)
        check_images_unchanged(trial, job.key)
        record = _open_record(job)
        with tempfile.TemporaryDirectory() as files:
            log = RunLog(record, Path(files), seen=_collect_points(record.operations))
            train_and_record(trial, log, folder / STATE, started, options)
        record.append(Operation("end", {"status": "FINISHED", "time": now_ms()}))
        shutil.rmtree(folder / STATE, ignore_errors=True)


def _open_record(job: Job) -> Journal:
    """Return the record of a config, started anew if its training state is missing."""
    record = job.record
    if not (record.folder / STATE).is_dir():
        shutil.rmtree(record.folder, ignore_errors=True)
        config = job.config
        body = {
            "id": uuid.uuid4().hex,
            "name": job.title,
            "dataset": config.dataset,
            "fingerprint": job.key,
            "machine": platform.node(),
            "time": now_ms(),
            "study": dict(job.study),
        }
        record.append(Operation("begin", body))
    return record


def check_deadline(end: float, epoch: Mapping[str, float]) -> str | None:  # noqa: ARG001
    """Return a reason to stop once the time is up, as a `study.job.Watch` callback.

    Args:
        end: by `time.monotonic()`, in seconds.
        epoch: the epoch's figures, which do not matter here.
    """
    return "the time is up" if time.monotonic() > end else None


def _collect_points(operations: Iterable[Operation]) -> frozenset[tuple[str, int]]:
    """Return the metric points in operations, as (name, step)."""
    points = (point for operation in operations for point in operation.body.get("metrics", ()))
    return frozenset((name, step) for name, _, _, step in points)
