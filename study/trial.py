"""One trial, from a checked config to a complete MLflow run: images, training, the record."""

import functools
import importlib
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import TYPE_CHECKING

import numpy as np

from study.common.cache import cache_dir
from study.common.command import quiet_stderr
from study.common.errors import Paused
from study.common.errors import Pruned
from study.common.files import room_for
from study.common.progress import duration
from study.common.progress import Progress
from study.common.version import code_version
from study.config import compare_weights
from study.config import PROTOCOL_VERSION
from study.config import TrialConfig
from study.config import weights_kind
from study.data.prepare import Data
from study.data.prepare import prepare
from study.data.split import groups_tested
from study.data.split import leaking
from study.data.split import make_split
from study.data.split import report_sizes
from study.data.split import Split
from study.job import Options
from study.tracking.run_logger import RunLog
from study.training import artifacts
from study.variants import variant_of

if TYPE_CHECKING:
    from study.training.fit import Epoch
    from study.training.fit import TrialResult

_warned: set[tuple[str, str, int]] = set()  # by this process, which may train a whole grid


@dataclass(frozen=True)
class Trial:
    """One trial under way: what it trains, on which rows, and where it is shown."""

    config: TrialConfig
    data: Data
    split: Split
    progress: Progress

    @functools.cached_property
    def leaks(self) -> int | None:
        """Test images with a sibling in train; None if groups are unknown."""
        return leaking(self.data, self.split)


def load() -> None:
    """Import what training takes, ahead of the first trial: it takes seconds."""
    with quiet_stderr():
        importlib.import_module("study.training.fit")


def prepared(config: TrialConfig, progress: Progress, *, use_cache: bool) -> Trial:
    """Images read and split, with a word on all that a reader of the result should know."""
    data = _read(config, progress, use_cache)
    split = make_split(
        data, config.split, config.seed, config.limit, fold=config.fold, folds=config.folds
    )
    trial = Trial(config, data, split, progress)
    _warn(trial)
    return trial


def recorded(
    trial: Trial, log: RunLog, folder: Path, started: float, options: Options
) -> "TrialResult":
    """Train and write everything into an open run; the tag `finished` comes last.

    Args:
        trial: what to train.
        log: the run.
        folder: where the training state lives between epochs.
        started: `time.perf_counter()` when this process took up the trial.
        options: whether the model goes into the run, too, and who watches the epochs.

    Raises:
        Pruned: the watcher ended it; the run is not complete.
        Paused: nor is it after `options.until` epochs, but it goes on when trained again.
        StudyError: MLflow refuses the record, or there is no room on the disk.
    """
    log.log_params(trial.config.as_dict())
    log.log_tags(_tags(trial))
    log.log_dataset(trial.config.dataset, trial.data.source, trial.data.digest)
    result, seconds_before = _fitted(trial, log, folder, options)
    probabilities = {"val": result.val_probabilities, "test": result.test_probabilities}
    with room_for("the run's files", log.files):
        files = log.new_folder()
        artifacts.write(files, trial.config, trial.data, trial.split, result.history, probabilities)
        log.log_folder(files)
        if options.log_model:
            example = np.asarray(trial.data.x[trial.split.test[0]])
            from study.serving import export  # late: it needs MLflow, which not every machine has

            folder = log.new_folder() / "model"
            export.save(result.portable_model(), trial.data.classes, example, folder)
            log.log_model(folder)
    total = seconds_before + time.perf_counter() - started
    # step 0: a single point there is drawn as a bar beside the other runs' in the MLflow UI
    figures = {**result.figures, **independence(trial), "total_seconds": total}
    log.log_metrics(figures, step=0)
    log.log_tags({"finished": "true"})
    return result


def independence(trial: Trial) -> dict[str, float]:
    """How far the test set stands alone; empty if groups are unknown.

    `leak_fraction`: test images with a sibling (same group) in train, of all (0 to 1);
    `test_groups`: the groups behind the test images.
    """
    groups = groups_tested(trial.data, trial.split)
    if trial.leaks is None or groups is None:
        return {}
    return {"leak_fraction": trial.leaks / len(trial.split.test), "test_groups": float(groups)}


def _fitted(
    trial: Trial, log: RunLog, folder: Path, options: Options
) -> "tuple[TrialResult, float]":
    """The result, and the seconds of the epochs that an earlier process trained."""
    with quiet_stderr():
        # late: loading TensorFlow takes seconds, and errors come before it
        from study.training import fit
        from study.training import runtime

    before: list[float] = []
    may_end = _judge(options, trial.config.epochs)

    def on_start(history: "list[Epoch]", weights_digest: str) -> None:
        log.log_tags(runtime.tags())
        if trial.config.weights != "none":
            log.log_tags({"weights_digest": weights_digest})
        before.extend(epoch["seconds"] for epoch in history)
        for epoch in history:  # a kill may have come between the state and the record of it
            log.log_epoch(epoch)
        if history:
            trial.progress.say(f"  going on after epoch {len(history)}")
        for epoch in history:  # the watcher may not know of them, or have been asked in vain
            may_end(epoch)

    split, data = trial.split, trial.data
    arrays = fit.Arrays(data.x, data.y, split.train, split.val, split.test, len(data.classes))
    on_step, on_epoch = _watchers(trial, log, before)

    def on_judged_epoch(epoch: "Epoch") -> None:
        on_epoch(epoch)
        may_end(epoch)

    callbacks = fit.Callbacks(on_start, on_step, on_judged_epoch)
    with room_for("the training state", folder):
        return fit.fit(trial.config, arrays, folder, callbacks), sum(before)


def _judge(options: Options, epochs: int) -> "Callable[[Epoch], None]":
    """Tells the watcher of an epoch; raises Pruned if it says so and there is something to save."""
    watch = options.watch
    if watch is not None:
        module, name = watch.function.split(":")
        asked = functools.partial(getattr(importlib.import_module(module), name), *watch.args)

    def judge(epoch: "Epoch") -> None:
        reason = asked(epoch) if watch is not None else None
        if epoch["epoch"] >= epochs:
            return
        if reason:
            raise Pruned(reason)
        if 0 < options.until <= epoch["epoch"]:
            raise Paused(epoch)

    return judge


def _watchers(trial: Trial, log: RunLog, before: list[float]) -> tuple[Any, Any]:
    epochs, progress = trial.config.epochs, trial.progress
    width = len(str(epochs))
    seen: list[float] = []

    def on_step(step: int, steps: int) -> None:
        number = len(before) + len(seen) + 1
        progress.step(f"  epoch {number}/{epochs}, step", step, steps)

    def on_epoch(epoch: "Epoch") -> None:
        log.log_epoch(epoch)
        seen.append(epoch["seconds"])
        number = int(epoch["epoch"])
        left = duration(sorted(seen)[len(seen) // 2] * (epochs - number))
        speed = len(trial.split.train) / epoch["seconds"]
        progress.say(
            f"  epoch {number:{width}}/{epochs}  loss {epoch['loss']:.4f}  "
            f"acc {epoch['accuracy']:.4f}  val_loss {epoch['val_loss']:.4f}  "
            f"val_acc {epoch['val_accuracy']:.4f}  {speed:.0f} images/s"
            + (f"  {left} left" if number < epochs else "")
        )

    return on_step, on_epoch


def _read(config: TrialConfig, progress: Progress, use_cache: bool) -> Data:
    start = time.perf_counter()
    data = prepare(config.dataset, config.image_size, use_cache=use_cache, progress=progress.step)
    seconds = time.perf_counter() - start
    if seconds > 2:
        where = f"cached in {cache_dir()}" if use_cache else "in memory"
        size = data.x.nbytes / 2**20
        progress.say(f"  {len(data.y)} images read in {duration(seconds)}, {size:.0f} MiB {where}")
    return data


def _warn(trial: Trial) -> None:
    """What is odd about the images and their split, once for all trials of a process."""
    data, split, say = trial.data, trial.split, trial.progress.say
    key = (data.digest, trial.config.split, trial.config.limit)
    if key in _warned:
        return
    _warned.add(key)
    for image, reason in data.skipped[:5]:
        say(f"  skipped {image}: {reason}")
    if len(data.skipped) > 5:
        say(f"  skipped {len(data.skipped) - 5} more: see the run's skipped.csv")
    report = report_sizes(trial.config.dataset, trial.config.split)
    if report is not None and _slashed(report) != _sizes(split):
        say(
            f"  split {_sizes(split)} (train/val/test) differs from the report's {_slashed(report)}"
        )
    if trial.leaks is None:
        say("  groups are not known, hence neither is what leaks: see python -m study.data.audit")
    elif trial.leaks:
        say(
            f"  warning: {trial.leaks} of {len(split.test)} test images have a sibling (same "
            "original or patient) in train: test accuracy measures memory, too"
        )


def _sizes(split: Split) -> str:
    return _slashed([len(split.train), len(split.val), len(split.test)])


def _slashed(numbers: Sequence[int]) -> str:
    return "/".join(str(number) for number in numbers)


def _tags(trial: Trial) -> dict[str, str]:
    config, leaks = trial.config, trial.leaks
    comparison = compare_weights(config)
    known = {} if comparison is None else {"weights_published": str(comparison)}
    return {
        "dataset": config.dataset,
        "split": config.split,
        "variant": str(variant_of(config) or "none"),
        "weights_kind": weights_kind(config),
        **known,
        "data_digest": trial.data.digest,
        "protocol_version": str(PROTOCOL_VERSION),
        "sizes": _sizes(trial.split),
        "leak": "unknown" if leaks is None else f"{leaks}/{len(trial.split.test)}",
        "skipped": str(len(trial.data.skipped)),
        "code_version": code_version(),
    }
