"""Train a config, unless it is finished already, as one run in MLflow."""

import contextlib
import dataclasses
import math
import shutil
import time
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from study.common.cache import cache_dir
from study.common.cache import cache_errors_as_data_errors
from study.common.cache import exclusive_cache_lock
from study.common.errors import Paused
from study.common.errors import Pruned
from study.common.errors import TrackingError
from study.common.progress import format_duration
from study.common.progress import Progress
from study.config.fingerprint import fingerprint
from study.config.names import make_trial_title
from study.config.trial_config import TrialConfig
from study.data.prepare import compute_data_digest
from study.data.prepare import compute_name_digest
from study.data.prepare import has_verified_groups
from study.job import Options
from study.job import Outcome
from study.tracking import connection
from study.tracking import outages
from study.tracking import queries
from study.tracking import spool
from study.tracking.end_runs import choose_finished_run
from study.tracking.project_run import point_to_finished_run
from study.tracking.project_run import take_project_run
from study.tracking.run_logger import RunLog
from study.tracking.trial_run import open_run
from study.tracking.trial_run import RunSpec
from study.trial.prepare import check_images_unchanged
from study.trial.prepare import check_planned
from study.trial.prepare import compute_majority
from study.trial.prepare import prepare_trial
from study.trial.prepare import PreparedTrial
from study.trial.record import train_and_record


def train_config(config: TrialConfig, options: Options | None = None) -> Outcome:
    """Train a config, unless it is finished already, and record it as one MLflow run.

    If `options.pause_after_epoch` is set, training pauses after that many epochs.

    Raises:
        StudyError: there are no data, no tracking server or no weights, or training failed; the
            message says what to do.
    """
    started = time.perf_counter()
    options = options or Options()
    progress = Progress(options.label, bars=not options.plain_progress)
    client = outages.retry_at_start(connection.connect, progress)
    title = make_trial_title(config, compute_name_digest(config.dataset))
    progress.say(title)
    project_run = None if options.parent else take_project_run(client, config)
    key = fingerprint(config, compute_data_digest(config.dataset, config.split))
    if options.planned_key:
        check_planned(config, key, options.planned_key)
    with _lock_state_folder(key, wait=options.wait_for_lock) as folder:
        runs = outages.retry_at_start(lambda: _deliver_and_find_runs(client, key), progress)
        finished_run = None if options.retrain else choose_finished_run(client, runs)
        if finished_run is not None:
            with contextlib.suppress(OSError):  # not empty: a run that was killed at its very end
                folder.rmdir()
            return _reuse_run(client, finished_run, config, progress, options, project_run)
        unfinished_runs = queries.select_unfinished_runs(runs)
        if options.retrain and not unfinished_runs:
            shutil.rmtree(folder)  # left by a finished run that was killed at its very end
            folder.mkdir()
        trial = prepare_trial(config, progress, use_cache=options.use_cache)
        check_images_unchanged(trial, key)
        spec = RunSpec(config.dataset, title, key, options.parent, project_run)
        resumable = any(folder.iterdir())
        run = open_run(client, spec, resumable=resumable, unfinished_runs=unfinished_runs)
        return _train_in_run(trial, run, folder, started, options)


def _train_in_run(
    trial: PreparedTrial,
    run: AbstractContextManager[RunLog],
    folder: Path,
    started: float,
    options: Options,
) -> Outcome:
    """Train a trial in its MLflow run.

    The state folder is removed after a complete or pruned trial, and kept after a paused one.
    """
    try:
        with run as log:
            if options.role:
                log.log_tags({"role": options.role})
            result = train_and_record(trial, log, folder, started, options)
    except Paused as paused:
        return _make_outcome(log.run_id, paused.epoch, math.nan)
    except Pruned:
        shutil.rmtree(folder, ignore_errors=True)  # a pruned trial is never resumed
        raise
    shutil.rmtree(folder, ignore_errors=True)
    figures = result.figures
    test_figures = (
        f"test accuracy {figures['test_accuracy']:.4f}, loss {figures['test_loss']:.4f}; "
    )
    trial.progress.say(
        f"  {'' if options.hide_test_metrics else test_figures}"
        f"learning time {format_duration(figures['fit_seconds'])}; run {log.run_id}"
    )
    outcome = _make_outcome(log.run_id, result.history[-1], figures["test_accuracy"])
    return dataclasses.replace(outcome, majority=compute_majority(trial))


def _make_outcome(run_id: str, epoch: Mapping[str, float], test_accuracy: float) -> Outcome:
    return Outcome(
        run_id,
        epoch["val_accuracy"],
        test_accuracy,
        epoch["val_loss"],
        epoch.get("val_auc", math.nan),
        epoch.get("val_balanced_accuracy", math.nan),
    )


def _deliver_and_find_runs(client: MlflowClient, key: str) -> list[Run]:
    """Deliver what earlier trials left on this machine, and return a config's runs.

    Args:
        client: the MLflow client.
        key: the config's fingerprint.

    Raises:
        TrackingError: the record of this config was not delivered.
    """
    waiting = spool.flush_spool(client).waiting
    runs = queries.find_runs(client, key)
    for run in runs:
        if run.info.run_id in waiting:
            raise TrackingError(
                f"the record of this config's run {run.info.run_id} waits on this machine, and "
                f"MLflow does not accept it now: {waiting[run.info.run_id]}"
            )
    return runs


def _reuse_run(
    client: MlflowClient,
    run: Run,
    config: TrialConfig,
    progress: Progress,
    options: Options,
    project_run: str | None,
) -> Outcome:
    """Return the outcome of a finished run instead of training its config again."""
    outcome = queries.read_outcome(run)
    run_id = outcome.run_id
    test_figures = (
        "" if options.hide_test_metrics else f"test accuracy {outcome.test_accuracy:.4f}, "
    )
    advice = "" if options.parent else " (--again trains it anew)"  # a flag of study.train alone
    progress.say(f"  already finished: {test_figures}run {run_id}{advice}")
    if run.data.tags.get("leak") == "unknown" and has_verified_groups(config.dataset):
        progress.say(
            "  warning: this run was recorded when no groups were known, so its leak is unknown, "
            "and its interval takes all test images as independent: delete run "
            f"{run_id} in MLflow and repeat the command to measure both"
        )
    if project_run is not None:
        point_to_finished_run(client, project_run, run)
    return outcome


@contextlib.contextmanager
def _lock_state_folder(key: str, *, wait: bool) -> Iterator[Path]:
    """Lock a trial's state folder against other processes on this machine.

    Args:
        key: the config's fingerprint.
        wait: for a process that has the lock now.

    Raises:
        DataError: the cache folder cannot be written.
        StudyError: another process has the lock, and `wait` is false.
    """
    folder = cache_dir() / "trials" / key
    message = "another process is training this config: wait for it to end"
    with exclusive_cache_lock(folder, message, wait=wait):
        with cache_errors_as_data_errors():
            folder.mkdir(exist_ok=True)
        yield folder
