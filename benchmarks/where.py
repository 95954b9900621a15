"""Measure where the time of a step, an epoch, a trial and a grid goes.

    DATA_DIR=../shared/data python -m benchmarks.where
    DATA_DIR=../shared/data python -m benchmarks.where --dataset blood --limit 400

Runs a real `study.train` in a folder of its own (MLflow on SQLite), and times its parts. The parts
of a step are timed separately, as the time that each adds to the one before. The grid is the real
command, and the times of its parts come from its MLflow runs.
"""

import argparse
import functools
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from dotenv import load_dotenv
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from benchmarks.hardware import measure_median_seconds
from benchmarks.settings import make_config
from benchmarks.settings import make_parser
from benchmarks.settings import run_module
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.common.progress import Progress
from study.config.trial_config import TrialConfig
from study.search.grid_plan import BY_VARIANT
from study.tracking import queries
from study.tracking.run_logger import RunLog
from study.trial import train_config
from study.trial.prepare import prepare_trial
from study.variants import format_flags
from study.variants import VARIANTS

with quiet_stderr():
    import keras
    import tensorflow as tf

    from study.training import artifacts
    from study.training import fit
    from study.training import loop_tensorflow
    from study.training.model import build_compiled_model

# Parts in the tables
STEPS = "steps"
PREDICTED = "validation and test"
STATE = "state saved"
RECORD = "figures handed to the record"
REST = "in no part"
# The functions that are timed: the object that has the function, its name there, and the part
PARTS: list[tuple[Any, str, str]] = [
    (train_config, "prepare_trial", "images found, read from the cache, split"),
    (fit, "build_compiled_model", "model built, weights loaded"),
    (loop_tensorflow.TensorFlowLoop, "train", STEPS),
    (loop_tensorflow.TensorFlowLoop, "predict", PREDICTED),
    (fit, "save_checkpoint", STATE),
    (RunLog, "log_epoch", RECORD),
    (artifacts, "write_artifacts", "files written"),
]
TURNS = 5  # of which a median is taken
Seconds = dict[str, float]


@dataclass
class Clock:
    """The seconds of a trial's parts, in all and at the end of each epoch."""

    seconds: Seconds = field(default_factory=lambda: defaultdict(float))
    epochs: list[tuple[float, Seconds]] = field(default_factory=list)  # (time, seconds so far)

    def wrap(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Wrap a function so that its seconds are added to a part's.

        The seconds of other parts that are called within it do not count.
        """

        @functools.wraps(function)
        def call_timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            total_before = sum(self.seconds.values())
            try:
                return function(*args, **kwargs)
            finally:
                inner_seconds = sum(self.seconds.values()) - total_before
                self.seconds[name] += time.perf_counter() - start - inner_seconds
                if name == RECORD:
                    self.epochs.append((time.perf_counter(), dict(self.seconds)))

        return call_timed

    def compute_mean_epoch(self) -> Seconds:
        """Return the mean seconds of the epochs after the first, by part."""
        start, first = self.epochs[0]
        end, last = self.epochs[-1]
        count = len(self.epochs) - 1
        mean = {name: (last[name] - first.get(name, 0.0)) / count for name in last}
        return mean | {REST: (end - start) / count - sum(mean.values())}


def time_trial(config: TrialConfig) -> Clock:
    """Time a trial in this process, which has already imported everything."""
    clock = Clock()
    for owner, attribute, name in PARTS:
        setattr(owner, attribute, clock.wrap(getattr(owner, attribute), name))
    start = time.perf_counter()
    train_config.train_config(config)
    seconds = time.perf_counter() - start - sum(clock.seconds.values())
    clock.seconds["the rest: record opened, awaited and closed"] = seconds
    tracing = clock.epochs[0][1][STEPS] - clock.compute_mean_epoch()[STEPS]
    clock.seconds["tracing: the first epoch's steps, less a later one's"] = tracing
    clock.seconds[STEPS] -= tracing
    return clock


def split_epoch(clock: Clock, step: dict[str, float], steps: int) -> dict[str, float]:
    """Return the seconds of an epoch's parts, with its steps divided into theirs.

    Args:
        clock: of a trial.
        step: milliseconds of each part of a step, timed alone.
        steps: of an epoch.
    """
    epoch = clock.compute_mean_epoch()
    step_parts = {name: steps * milliseconds / 1000 for name, milliseconds in step.items()}
    return {
        **step_parts,
        "a step's feeding and Python": epoch[STEPS] - sum(step_parts.values()),
        "validation": epoch[PREDICTED],
        **{name: epoch[name] for name in (STATE, RECORD, REST)},
    }


def time_imports() -> float:
    """Time a process that only imports what a trial needs."""
    start = time.perf_counter()
    code = "import study.trial.train_config, study.training.fit, study.training.loop_tensorflow"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


def time_step_parts(config: TrialConfig) -> dict[str, float]:
    """Measure the milliseconds that each part of a step adds."""
    model = build_compiled_model(config, 2)
    shape = (4 * config.batch_size, config.image_size, config.image_size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    x = tf.constant(pixels[: config.batch_size])
    y = tf.constant(np.arange(config.batch_size) % 2)

    def compute_loss() -> Any:
        return keras.losses.sparse_categorical_crossentropy(y, model(x, training=True))

    def compute_gradient() -> Any:
        with tf.GradientTape() as tape:
            loss = compute_loss()
        return tape.gradient(loss, model.trainable_weights)

    rows = np.arange(len(pixels))[:: len(pixels) // config.batch_size]
    parts: dict[str, Callable[[], Any]] = {
        "forward": tf.function(compute_loss, autograph=False),
        "backward": tf.function(compute_gradient, autograph=False),
        "Adam and metrics": tf.function(lambda: model.train_step((x, y)), autograph=False),
    }
    totals = {name: _measure_milliseconds(part) for name, part in parts.items()}
    milliseconds = {"batch gathered": _measure_milliseconds(lambda: pixels[rows])}
    total_before = 0.0
    for name, total in totals.items():
        milliseconds[name] = total - total_before
        total_before = total
    return milliseconds


def _measure_milliseconds(function: Callable[[], Any]) -> float:
    return 1000 * measure_median_seconds(function, TURNS)


def time_grid(base: TrialConfig) -> dict[str, float]:
    """Time the parts of a real grid, whose images are already in the cache."""
    flags = format_flags(base, leave_out=BY_VARIANT)
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name) / "cache"
        warm_up_folder = Path(name) / "warm-up"
        grid_folder = Path(name) / "grid"
        warm_up_folder.mkdir()
        grid_folder.mkdir()
        warm_up_flags = ["--epochs", "1", "--hidden-layers", "0", "--seed", "1"]
        run_module("study.train", [*flags, *warm_up_flags], warm_up_folder, cache)
        start = time.time()
        run_module("study.grid", flags, grid_folder, cache)
        end = time.time()
        client = MlflowClient(f"sqlite:///{grid_folder}/mlflow.db")
        runs = queries.search_runs(client, "tags.finished = 'true'")
        return _compute_grid_parts(client, runs, start, end)


def _compute_grid_parts(
    client: MlflowClient, runs: list[Run], start: float, end: float
) -> dict[str, float]:
    spans = [(run.info.start_time / 1000, run.info.end_time / 1000) for run in runs]
    epochs = [_estimate_epoch_seconds(client, run) for run in runs]
    other_seconds = [
        run_end - run_start - epoch_seconds
        for (run_start, run_end), epoch_seconds in zip(spans, epochs, strict=True)
    ]
    return {
        "imports, databases made, worker begun": spans[0][0] - start,
        "epochs": sum(epochs),
        "the first trial beside them: imports, tracing, files": other_seconds[0],
        "the other trials beside them": sum(other_seconds[1:]),
        "from one to the next": sum(later[0] - earlier[1] for earlier, later in pairwise(spans)),
        "after the last": end - spans[-1][1],
    }


def _estimate_epoch_seconds(client: MlflowClient, run: Run) -> float:
    """Estimate the seconds of a run's epochs without tracing.

    The first epoch, which includes tracing, counts as the median of the others.
    """
    points = client.get_metric_history(run.info.run_id, "epoch_seconds")
    seconds = [point.value for point in sorted(points, key=lambda point: point.step)]
    return len(seconds) * statistics.median(seconds[1:] or seconds)


def format_table(title: str, unit: str, parts: dict[str, float]) -> str:
    """Format a Markdown table of parts, with the share of each."""
    total = sum(parts.values())
    lines = [f"\n| {title} | {unit} | share |", "| --- | --- | --- |"]
    lines += [f"| {name} | {value:.2f} | {value / total:.1%} |" for name, value in parts.items()]
    return "\n".join([*lines, f"| together | {total:.2f} | |"])


def print_tables(args: argparse.Namespace) -> None:
    """Measure, and print a table for a step, an epoch, a trial and a grid."""
    config = make_config(args, epochs=args.epochs, limit=args.limit)
    if data_dir := os.environ.get("DATA_DIR"):
        os.environ["DATA_DIR"] = str(Path(data_dir).absolute())
    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        os.environ.update(MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlflow.db")
        os.environ["STUDY_CACHE"] = f"{folder}/cache"
        # reads the images, makes the database
        train_config.train_config(config.replace(epochs=1, seed=1))
        clock = time_trial(config)
        images = prepare_trial(config, Progress(), use_cache=True).split.train
    step = time_step_parts(config)
    network = f"{config.backbone}, {config.image_size} px"
    steps = math.ceil(len(images) / config.batch_size)
    print(format_table(f"a step of {config.batch_size} images, {network}", "ms", step))
    print(format_table(f"an epoch of {len(images)} images", "s", split_epoch(clock, step, steps)))
    trial_parts = {"imports, of a worker's first trial": time_imports(), **clock.seconds}
    print(format_table(f"a trial of {config.epochs} epochs", "s", trial_parts))
    print(format_table(f"a grid of {len(VARIANTS)} such trials", "s", time_grid(config)))


def main() -> None:
    """Run the command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--limit", type=int, default=600, help="images, 0 for all [default: 600]")
    add("--epochs", type=int, default=5, help="default: 5")
    print_tables(parser.parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
