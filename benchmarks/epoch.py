"""Time a tracked epoch of `study.train` against one of bare Keras.

    DATA_DIR=../shared/data python -m benchmarks.epoch
    python -m benchmarks.epoch --dataset demo --epochs 3

Three models take turns in one process, an epoch each on the same arrays. Whatever else the machine
does then affects all of them alike.

    tracked     study.trial.record: state saved and MLflow (SQLite) written after each epoch
    bare fused  Keras' `fit` alone, on the model of study.training.model (fused batch normalization)
    bare        Keras' `fit` alone, on the model of keras.applications as it is

The command prints three ratios. The ratio bare fused / tracked shows the cost of saving and
tracking, bare / bare fused the gain of the fused kernel, and bare / tracked both together. A ratio
above 1 means that the second one is faster.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
from dotenv import load_dotenv

from study.common.cache import cache_dir
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.common.progress import Progress
from study.config.names import make_trial_title
from study.config.trial_config import recipe
from study.data.chest import KAGGLE
from study.job import Options
from study.tracking import connection
from study.tracking.run_logger import RunLog
from study.tracking.trial_run import open_run
from study.tracking.trial_run import RunSpec
from study.trial.prepare import prepare_trial
from study.trial.prepare import PreparedTrial
from study.trial.record import train_and_record

# TensorFlow prints while it loads, and so does MLflow if it is loaded before study.
with quiet_stderr():
    import keras

    from benchmarks.plain import build_plain_model
    from benchmarks.plain import compile_plain_model
    from study.tracking.system_metrics import Monitor
    from study.training.checkpoint import STATE_FILE
    from study.training.model import build_model


@dataclass
class Laps:
    """The seconds of each epoch and of its parts, without the warm-up."""

    epochs: dict[str, list[float]] = field(default_factory=dict)
    saving: list[float] = field(default_factory=list)
    logging: list[float] = field(default_factory=list)
    system: list[float] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Return the median seconds of an epoch of `tracked`, `bare fused` or `bare`."""
        return statistics.median(self.epochs[name])


class SystemMetrics:
    """A timer of the system monitor, which pauses it while a bare epoch runs.

    The monitor's thread mostly waits for a core, so only its CPU seconds count.
    """

    def __init__(self) -> None:
        self.may_run = threading.Event()
        self.seconds = 0.0
        for name in ("collect_metrics", "publish_metrics"):
            setattr(Monitor, name, self._add_timer(getattr(Monitor, name)))

    def _add_timer(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call_timed(*args: Any) -> Any:
            self.may_run.wait()
            start = time.thread_time()
            try:
                return function(*args)
            finally:
                self.seconds += time.thread_time() - start

        return call_timed

    def take_seconds(self) -> float:
        """Return the seconds spent since the last call."""
        seconds = self.seconds
        self.seconds = 0.0
        return seconds


@dataclass(frozen=True)
class TimedLog(RunLog):
    """A run's log that trains the bare models for an epoch after each recorded one."""

    others: Mapping[str, Callable[[], None]] = field(kw_only=True)
    system: SystemMetrics = field(kw_only=True)
    state_file: Path = field(kw_only=True)
    laps: Laps = field(default_factory=Laps)
    starts: list[float] = field(default_factory=list)  # when each tracked epoch began

    def log_epoch(self, epoch: Mapping[str, float]) -> None:
        """Record the epoch, then run an epoch of each other model.

        The first epoch of each model is the warm-up, which is not timed.
        """
        save_time = time.perf_counter()
        super().log_epoch(epoch)
        end_time = time.perf_counter()
        system_seconds = self.system.take_seconds()
        is_warm_up = epoch["epoch"] == 1
        if not is_warm_up:
            start_time = self.starts[-1]
            self.laps.epochs.setdefault("tracked", []).append(end_time - start_time)
            self.laps.saving.append(save_time - start_time - epoch["seconds"])
            self.laps.logging.append(end_time - save_time)
            self.laps.system.append(system_seconds)
        self._run_others(is_warm_up=is_warm_up)
        self.starts.append(time.perf_counter())

    def _run_others(self, *, is_warm_up: bool) -> None:
        self.system.may_run.clear()
        for name, run_epoch in self.others.items():
            start_time = time.perf_counter()
            run_epoch()
            if not is_warm_up:
                self.laps.epochs.setdefault(name, []).append(time.perf_counter() - start_time)
        self.system.may_run.set()


def make_bare_epoch(trial: PreparedTrial, model: keras.Model) -> Callable[[], None]:
    """Compile a model as a notebook would, and return a function that fits one epoch."""
    compile_plain_model(model, trial.config.lr)
    data = trial.data
    split = trial.split
    x = np.asarray(data.x[split.train])
    y = data.y[split.train]
    validation = (np.asarray(data.x[split.val]), data.y[split.val])
    batch_size = trial.config.batch_size

    def run_epoch() -> None:
        model.fit(x, y, batch_size=batch_size, validation_data=validation, verbose=0)

    return run_epoch


def time_epochs(trial: PreparedTrial, folder: Path) -> tuple[Laps, float]:
    """Time the epochs of all three models.

    Args:
        trial: what to train.
        folder: an empty folder, which is not needed afterwards.

    Returns:
        The laps, and the size of the saved state in MB.
    """
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    client = connection.connect()
    client.create_experiment(trial.config.dataset, (folder / "artifacts").as_uri())
    classes = len(trial.data.classes)
    fused_model = build_model(trial.config, classes)
    plain_model = build_plain_model(trial.config, classes, dtype="uint8")
    others = {
        "bare fused": make_bare_epoch(trial, fused_model),
        "bare": make_bare_epoch(trial, plain_model),
    }
    system = SystemMetrics()
    system.may_run.set()
    spec = RunSpec(
        trial.config.dataset, make_trial_title(trial.config, trial.data.digest), "benchmark"
    )
    with open_run(client, spec, resumable=False) as run:
        state_file = folder / STATE_FILE
        log = TimedLog(run.outbox, run.files, others=others, system=system, state_file=state_file)
        train_and_record(trial, log, folder, time.perf_counter(), Options())
    return log.laps, log.state_file.stat().st_size / 1e6


def print_report(laps: Laps, megabytes: float) -> None:
    """Print the medians, their ratios, and the parts of a tracked epoch."""
    rounds = len(laps.saving)
    print(f"median seconds of {rounds} epochs each, and the least and the most")
    for name, seconds in laps.epochs.items():
        print(f"  {name:17} {laps.median(name):8.2f}   {min(seconds):.2f} to {max(seconds):.2f}")
    _print_ratios(laps.median("tracked"), laps.median("bare fused"), laps.median("bare"))
    _print_shares(laps, megabytes)


def _print_ratios(tracked: float, fused: float, bare: float) -> None:
    print("ratios of these medians (above 1: the second is faster)")
    print(f"  bare / tracked    {bare / tracked:8.3f}   target 0.95 or more")
    print(f"  bare fused / tracked{fused / tracked:6.3f}   what saving and tracking leave")
    print(f"  bare / bare fused {bare / fused:8.3f}   what the fused kernel gains")


def _print_shares(laps: Laps, megabytes: float) -> None:
    total = statistics.mean(laps.epochs["tracked"])
    saving = statistics.mean(laps.saving)
    logging = statistics.mean(laps.logging)
    system = statistics.mean(laps.system)
    together = saving + logging + system
    print("share of a tracked epoch that is not training")
    print(f"  state saved       {saving / total:8.2%}   {saving:.3f} s for {megabytes:.0f} MB")
    print(f"  MLflow, metrics   {logging / total:8.2%}   {logging:.3f} s")
    print(f"  MLflow, system    {system / total:8.2%}   {system:.3f} s of CPU in its own thread")
    print(f"  together          {together / total:8.2%}   target 3 % or less")


def choose_dataset() -> str:
    """Return `chest` if DATA_DIR has it, else `demo`."""
    folder = os.environ.get("DATA_DIR", "").strip()
    return "chest" if folder and (Path(folder) / KAGGLE.landmark).is_dir() else "demo"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="default: chest if DATA_DIR has it, else demo")
    parser.add_argument("--image-size", type=int, default=128, help="pixels [default: 128]")
    parser.add_argument("--limit", type=int, default=480, help="images, 0 for all [default: 480]")
    parser.add_argument("--epochs", type=int, default=5, help="timed, of each [default: 5]")
    parser.add_argument("--weights", default="none", help="none, imagenet or FILE [default: none]")
    args = parser.parse_args()
    config = recipe(args.dataset or choose_dataset()).replace(
        image_size=args.image_size, limit=args.limit, weights=args.weights, epochs=args.epochs + 1
    )
    trial = prepare_trial(config, Progress(), use_cache=True)
    print(
        f"{config.dataset}, {config.backbone} alpha {config.alpha:g}, {config.image_size} px, "
        f"batch {config.batch_size}, "
        f"{len(trial.split.train)} images to train, {len(trial.split.val)} to validate"
    )
    # In the cache folder, so that the state is saved to the disk that real trials use
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="bench-") as folder:
        print_report(*time_epochs(trial, Path(folder)))


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
