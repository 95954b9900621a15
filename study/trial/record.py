"""Train a prepared trial, and write everything into an open run."""

import importlib
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from study.common.command import quiet_stderr
from study.common.errors import ConfigError
from study.common.errors import first_line
from study.common.files import no_space_as_study_error
from study.common.settings import keras_backend
from study.common.version import code_version
from study.config.fingerprint import PROTOCOL_VERSION
from study.config.initial_weights import compare_weights
from study.config.initial_weights import weights_kind
from study.data.split import format_split
from study.job import Options
from study.statistics.predictions import find_only_answer
from study.tracking.epoch_log import EpochLog
from study.tracking.run_logger import RunLog
from study.training import artifacts
from study.training.arrays import Arrays
from study.trial.devices import join_tags
from study.trial.devices import read_devices
from study.trial.devices import save_devices
from study.trial.devices import Tags
from study.trial.prepare import compute_majority
from study.trial.prepare import format_leak
from study.trial.prepare import measure_independence
from study.trial.prepare import PreparedTrial
from study.variants import find_variant

if TYPE_CHECKING:
    from study.training.checkpoint import Epoch
    from study.training.fit import TrialResult


def preload_training() -> None:
    """Import Keras and its backend before the first trial, which takes seconds.

    Raises:
        ConfigError: Keras does not start with the user's settings.
    """
    os.environ["KERAS_BACKEND"] = keras_backend()  # else Keras asks keras.json
    try:
        with quiet_stderr():
            importlib.import_module("study.training.fit")
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"Keras does not start ({first_line(error)}): check KERAS_BACKEND, and keras.json in "
            "~/.keras (or KERAS_HOME)"
        ) from error


def train_and_record(
    trial: PreparedTrial, log: RunLog, folder: Path, started: float, options: Options
) -> "TrialResult":
    """Train a trial and write everything into an open run, the tag `finished` last.

    Args:
        trial: what to train.
        log: the run.
        folder: of the training state, which is saved after each epoch.
        started: `time.perf_counter()` when this process began with the trial.
        options: whether to log the model, and which callback watches the epochs.

    Raises:
        Pruned: the callback ended the trial; the run is not complete.
        Paused: the trial has trained `options.pause_after_epoch` epochs; the run is not complete,
            but continues when it is trained again.
        StudyError: MLflow refuses the record, or there is no space on the disk.
    """
    log.log_params(trial.config.as_dict())
    log.log_tags(_make_tags(trial))
    log.log_dataset(trial.config.dataset, trial.data.source, trial.data.digest)
    result, earlier_seconds = _fit(trial, log, folder, options)
    _warn_of_only_answer(trial, result, options)
    with no_space_as_study_error("the run's files", log.files):
        _log_files(trial, log, result)
        if options.log_model:
            _log_model(trial, log, result)
    total = earlier_seconds + time.perf_counter() - started
    figures = {
        **result.figures,
        **measure_independence(trial),
        "majority_fraction": compute_majority(trial),
        "total_seconds": total,
    }
    # step 0, because the MLflow UI draws single points there as bars beside those of other runs
    log.log_metrics(figures, step=0)
    log.log_tags({"finished": "true"})
    return result


def _warn_of_only_answer(trial: PreparedTrial, result: "TrialResult", options: Options) -> None:
    """Warn if one class is predicted for all test images.

    Where test figures are hidden, the warning is about validation images.
    """
    if options.hide_test_metrics:
        part = "validation"
        answer = find_only_answer(result.val_probabilities, trial.data.y[trial.split.val])
    else:
        part = "test"
        answer = find_only_answer(result.test_probabilities, trial.data.y[trial.split.test])
    if answer is not None:
        trial.progress.say(
            f"  warning: every {part} image is classified as {trial.data.classes[answer]}, so this "
            "training did not learn to tell the classes apart"
        )


def _log_files(trial: PreparedTrial, log: RunLog, result: "TrialResult") -> None:
    probabilities = {"val": result.val_probabilities, "test": result.test_probabilities}
    files = log.new_folder()
    artifacts.write_artifacts(
        files, trial.config, trial.data, trial.split, result.history, probabilities
    )
    log.log_folder(files)


def _log_model(trial: PreparedTrial, log: RunLog, result: "TrialResult") -> None:
    example = np.asarray(trial.data.x[trial.split.test[0]])
    from study.serving import export  # late: it needs MLflow, which not every machine has

    folder = log.new_folder() / "model"
    export.save_model(result.build_portable_model(), trial.data.classes, example, folder)
    log.log_model(folder)


def _fit(
    trial: PreparedTrial, log: RunLog, folder: Path, options: Options
) -> "tuple[TrialResult, float]":
    """Train a trial, and log each epoch.

    Returns:
        The result, and the seconds of the epochs that an earlier process trained.
    """
    # late, because loading TensorFlow takes seconds: errors in the config or data come first
    preload_training()
    from study.training import fit
    from study.training import runtime

    images = len(trial.split.train)
    epoch_log = EpochLog(trial.config.epochs, images, log, trial.progress, options)
    devices: list[Tags] = []

    def on_start(history: "list[Epoch]", weights_digest: str) -> None:
        devices.extend(read_devices(folder) if history else [])
        devices.append({**runtime.collect_tags(), **_collect_place()})
        log.log_tags(join_tags(devices))
        if weights_digest:
            log.log_tags({"weights_digest": weights_digest})
        epoch_log.resume(history)

    def on_epoch(epoch: "Epoch") -> None:
        if not epoch_log.seconds:  # the first one here: without an epoch, a device does not count
            save_devices(folder, devices)
        epoch_log.on_epoch(epoch)

    data = trial.data
    split = trial.split
    arrays = Arrays(data.x, data.y, split.train, split.val, split.test, len(data.classes))
    callbacks = fit.Callbacks(on_start, epoch_log.on_step, on_epoch)
    with no_space_as_study_error("the training state", folder):
        return fit.fit(trial.config, arrays, folder, callbacks), sum(epoch_log.earlier_seconds)


def _collect_place() -> dict[str, str]:
    """Return the tags of the machine and the code that train here."""
    return {"machine": platform.node(), "code_version": code_version()}


def _make_tags(trial: PreparedTrial) -> dict[str, str]:
    config = trial.config
    comparison = compare_weights(config)
    comparison_tag = {} if comparison is None else {"weights_published": str(comparison)}
    return {
        "dataset": config.dataset,
        "split": config.split,
        "variant": str(find_variant(config) or "none"),
        "weights_kind": weights_kind(config),
        **comparison_tag,
        "data_digest": trial.data.digest,
        "images_digest": trial.data.images_digest,
        "protocol_version": str(PROTOCOL_VERSION),
        "sizes": format_split(trial.split),
        "leak": format_leak(trial),
        "skipped": str(len(trial.data.skipped)),
        "code_version": code_version(),
    }
