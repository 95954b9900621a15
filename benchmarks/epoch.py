"""Time a tracked epoch of `study.train` against one of bare Keras.

    DATA_DIR=../shared/data python -m benchmarks.epoch
    python -m benchmarks.epoch --dataset demo --epochs 3

Three models take turns in one process, an epoch each on the same arrays, so that whatever else the
machine does hits all of them alike:

    tracked     study.trial: state saved and MLflow (SQLite) written after each epoch
    bare fused  Keras' `fit` alone, on the model of study.training.model (fused batch normalization)
    bare        Keras' `fit` alone, on the model of keras.applications as it is

bare fused / tracked is what the study costs, bare / bare fused what the fused kernel gains, and
bare / tracked both together: 1 or more means that a tracked epoch is no slower than a bare one.
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
from study.config import recipe
from study.data.chest import KAGGLE
from study.job import Options
from study.tracking import connection
from study.tracking.run_logger import RunLog
from study.tracking.trial_run import open_run
from study.tracking.trial_run import RunSpec
from study.trial import prepare_trial
from study.trial import train_and_record
from study.trial import Trial

with quiet_stderr():  # TensorFlow talks while it loads, and MLflow if loaded before study
    import keras

    from benchmarks.plain import compile_plainly
    from benchmarks.plain import plain_model
    from study.tracking.system_metrics import Monitor
    from study.training.checkpoint import STATE_FILE
    from study.training.model import build_model


@dataclass
class Laps:
    """Seconds of each epoch and of its parts, without the warm-up."""

    epochs: dict[str, list[float]] = field(default_factory=dict)
    saving: list[float] = field(default_factory=list)
    logging: list[float] = field(default_factory=list)
    system: list[float] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Return the median epoch of `tracked`, `bare fused` or `bare`, in seconds."""
        return statistics.median(self.epochs[name])


class SystemMetrics:
    """Time the system monitor, and pause it while a bare epoch runs.

    The monitor's thread mostly waits for a core, so only its CPU seconds count.
    """

    def __init__(self) -> None:
        self.may_run = threading.Event()
        self.seconds = 0.0
        for name in ("collect_metrics", "publish_metrics"):
            setattr(Monitor, name, self._timed(getattr(Monitor, name)))

    def _timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            self.may_run.wait()
            start = time.thread_time()
            try:
                return work(*args)
            finally:
                self.seconds += time.thread_time() - start

        return timed

    def taken(self) -> float:
        """Return the seconds spent since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


@dataclass(frozen=True)
class TimedLog(RunLog):
    """A run's log that trains the bare models for an epoch after each recorded one."""

    others: Mapping[str, Callable[[], None]] = field(kw_only=True)
    system: SystemMetrics = field(kw_only=True)
    state_file: Path = field(kw_only=True)
    laps: Laps = field(default_factory=Laps)
    resumed: list[float] = field(default_factory=list)  # when the tracked model got its turn

    def log_epoch(self, epoch: Mapping[str, float]) -> None:
        """Record the epoch, then run the other models and time them after the warm-up."""
        saved = time.perf_counter()
        super().log_epoch(epoch)
        done, warm_up = time.perf_counter(), epoch["epoch"] == 1
        system = self.system.taken()
        if not warm_up:
            start = self.resumed[-1]
            self.laps.epochs.setdefault("tracked", []).append(done - start)
            self.laps.saving.append(saved - start - epoch["seconds"])
            self.laps.logging.append(done - saved)
            self.laps.system.append(system)
        self.system.may_run.clear()
        for name, run_epoch in self.others.items():
            start = time.perf_counter()
            run_epoch()
            if not warm_up:
                self.laps.epochs.setdefault(name, []).append(time.perf_counter() - start)
        self.system.may_run.set()
        self.resumed.append(time.perf_counter())


def bare_epoch(trial: Trial, model: keras.Model) -> Callable[[], None]:
    """Compile a model as a notebook would, and return a function that fits one epoch."""
    compile_plainly(model, trial.config.lr)
    data, split = trial.data, trial.split
    x, y = np.asarray(data.x[split.train]), data.y[split.train]
    validation = (np.asarray(data.x[split.val]), data.y[split.val])
    batch_size = trial.config.batch_size

    def run_epoch() -> None:
        model.fit(x, y, batch_size=batch_size, validation_data=validation, verbose=0)

    return run_epoch


def measure(trial: Trial, folder: Path) -> tuple[Laps, float]:
    """Return the laps of all three models, and the size of the saved state in MB.

    Args:
        trial: what to train.
        folder: an empty one, of no use afterwards.
    """
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    client = connection.connect()
    client.create_experiment(trial.config.dataset, (folder / "artifacts").as_uri())
    classes = len(trial.data.classes)
    fused, plain = (
        build_model(trial.config, classes),
        plain_model(trial.config, classes, dtype="uint8"),
    )
    others = {"bare fused": bare_epoch(trial, fused), "bare": bare_epoch(trial, plain)}
    system = SystemMetrics()
    system.may_run.set()
    place = RunSpec(trial.config.dataset, trial.config.title, "benchmark")
    with open_run(client, place, resumable=False) as run:
        state_file = folder / STATE_FILE
        log = TimedLog(run.outbox, run.files, others=others, system=system, state_file=state_file)
        train_and_record(trial, log, folder, time.perf_counter(), Options())
    return log.laps, log.state_file.stat().st_size / 1e6


def report(laps: Laps, megabytes: float) -> None:
    tracked, fused, bare = map(laps.median, ("tracked", "bare fused", "bare"))
    parts = [statistics.mean(part) for part in (laps.saving, laps.logging, laps.system)]
    total = statistics.mean(laps.epochs["tracked"])
    saving, logging, system = (part / total for part in parts)
    rounds = len(laps.saving)
    print(f"median seconds of {rounds} epochs each, and the least and the most")
    for name, seconds in laps.epochs.items():
        print(f"  {name:17} {laps.median(name):8.2f}   {min(seconds):.2f} to {max(seconds):.2f}")
    print("ratios of these medians (above 1: the second is faster)")
    print(f"  bare / tracked    {bare / tracked:8.3f}   target 0.95 or more")
    print(f"  bare fused / tracked{fused / tracked:6.3f}   what saving and tracking leave")
    print(f"  bare / bare fused {bare / fused:8.3f}   what the fused kernel gains")
    print("share of a tracked epoch that is no training")
    print(f"  state saved       {saving:8.2%}   {parts[0]:.3f} s for {megabytes:.0f} MB")
    print(f"  MLflow, metrics   {logging:8.2%}   {parts[1]:.3f} s")
    print(f"  MLflow, system    {system:8.2%}   {parts[2]:.3f} s of CPU in a thread of its own")
    print(f"  together          {saving + logging + system:8.2%}   target 3 % or less")


def default_dataset() -> str:
    """Return `chest` if DATA_DIR has it, else `demo`."""
    folder = os.environ.get("DATA_DIR", "").strip()
    return "chest" if folder and (Path(folder) / KAGGLE.landmark).is_dir() else "demo"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="default: chest if DATA_DIR has it, else demo")
    parser.add_argument("--image-size", type=int, default=128, help="pixels [default: 128]")
    parser.add_argument("--limit", type=int, default=480, help="images, 0 for all [default: 480]")
    parser.add_argument("--epochs", type=int, default=5, help="timed, of each [default: 5]")
    parser.add_argument("--weights", default="none", help="none, imagenet or FILE [default: none]")
    args = parser.parse_args()
    config = recipe(args.dataset or default_dataset()).replace(
        image_size=args.image_size, limit=args.limit, weights=args.weights, epochs=args.epochs + 1
    )
    trial = prepare_trial(config, Progress(), use_cache=True)
    train, val = len(trial.split.train), len(trial.split.val)
    print(
        f"{config.dataset}, {config.backbone} alpha {config.alpha:g}, {config.image_size} px, "
        f"batch {config.batch_size}, {train} images to train, {val} to validate"
    )
    # Beside the real state files, so on the same kind of disk
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="bench-") as folder:
        report(*measure(trial, Path(folder)))


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
