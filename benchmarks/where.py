"""Measure where the time of a step, an epoch, a trial and a grid goes.

    DATA_DIR=../shared/data python -m benchmarks.where
    DATA_DIR=../shared/data python -m benchmarks.where --dataset blood --limit 400

Runs a real `study.train` in a folder of its own (MLflow on SQLite), with a clock around its parts.
The parts of a step are timed separately, as what each adds to the one before. The grid is the real
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
from collections import Counter
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

from benchmarks.hardware import seconds_of
from benchmarks.settings import config_of
from benchmarks.settings import parser_of
from benchmarks.settings import run_module
from study import train
from study import trial
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.common.progress import Progress
from study.config import TrialConfig
from study.search.grid_plan import BY_VARIANT
from study.tracking import queries
from study.tracking.run_logger import RunLog
from study.variants import format_flags
from study.variants import VARIANTS

with quiet_stderr():
    import keras
    import tensorflow as tf

    from study.training import fit
    from study.training import loop_tensorflow
    from study.training.model import build_compiled_model

# what is timed: where it is found, its name there, and what it is called in the table
STEPS, PREDICTED = "steps", "validation and test"
STATE, RECORD = "state saved", "figures handed to the record"
PARTS: list[tuple[Any, str, str]] = [
    (train, "prepare_trial", "images found, read from the cache, split"),
    (fit, "build_compiled_model", "model built, weights loaded"),
    (loop_tensorflow.TensorFlowLoop, "train", STEPS),
    (loop_tensorflow.TensorFlowLoop, "predict", PREDICTED),
    (fit, "save_checkpoint", STATE),
    (RunLog, "log_epoch", RECORD),
    (trial.artifacts, "write_artifacts", "files written"),
]
REST = "in no part"
TURNS = 5
Seconds = Counter[str]


@dataclass
class Clock:
    """Seconds of a trial's parts, in all and at the end of each epoch."""

    seconds: Seconds = field(default_factory=Counter)
    epochs: list[tuple[float, Seconds]] = field(default_factory=list)  # the time, and all until it

    def around(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Wrap a function to add its time, without that of inner parts, to a name's."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start, before = time.perf_counter(), self.seconds.total()
            try:
                return function(*args, **kwargs)
            finally:
                inner = self.seconds.total() - before
                self.seconds[name] += time.perf_counter() - start - inner
                if name == RECORD:
                    self.epochs.append((time.perf_counter(), Counter(self.seconds)))

        return timed

    def epoch(self) -> Seconds:
        """Return the mean epoch after the first, with the time that is in no part."""
        (start, first), (end, last) = self.epochs[0], self.epochs[-1]
        count = len(self.epochs) - 1
        mean = Counter({k: v / count for k, v in (last - first).items()})
        mean[REST] = (end - start) / count - mean.total()
        return mean


def trial_of(config: TrialConfig) -> Clock:
    """Run a trial in this process, which has already imported everything."""
    clock = Clock()
    for place, attribute, name in PARTS:
        setattr(place, attribute, clock.around(getattr(place, attribute), name))
    start = time.perf_counter()
    train.train(config)
    seconds = time.perf_counter() - start - clock.seconds.total()
    clock.seconds["the rest: record opened, awaited and closed"] = seconds
    tracing = clock.epochs[0][1][STEPS] - clock.epoch()[STEPS]
    clock.seconds["tracing: the first epoch's steps, less a later one's"] = tracing
    clock.seconds[STEPS] -= tracing
    return clock


def epoch_of(clock: Clock, step: dict[str, float], steps: int) -> dict[str, float]:
    """Return the seconds of an epoch's parts, with the steps' parts as timed alone."""
    epoch = clock.epoch()
    alone = {name: steps * milliseconds / 1000 for name, milliseconds in step.items()}
    beside = epoch[STEPS] - sum(alone.values())
    kept = {name: epoch[name] for name in (STATE, RECORD, REST)}
    return {**alone, "a step's feeding and Python": beside, "validation": epoch[PREDICTED], **kept}


def imports() -> float:
    """Time a process that only imports what a trial needs."""
    start = time.perf_counter()
    words = [
        sys.executable,
        "-c",
        "import study.train, study.training.fit, study.training.loop_tensorflow",
    ]
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - start


def step_of(config: TrialConfig) -> dict[str, float]:
    """Measure the milliseconds that each part of a step adds."""
    model = build_compiled_model(config, 2)
    shape = (4 * config.batch_size, config.image_size, config.image_size, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    x, y = tf.constant(pixels[: config.batch_size]), tf.constant(np.arange(config.batch_size) % 2)

    def forward() -> Any:
        return keras.losses.sparse_categorical_crossentropy(y, model(x, training=True))

    def both_ways() -> Any:
        with tf.GradientTape() as tape:
            loss = forward()
        return tape.gradient(loss, model.trainable_weights)

    rows = np.arange(len(pixels))[:: len(pixels) // config.batch_size]
    parts: dict[str, Callable[[], Any]] = {
        "forward": tf.function(forward, autograph=False),
        "backward": tf.function(both_ways, autograph=False),
        "Adam and metrics": tf.function(lambda: model.train_step((x, y)), autograph=False),
    }
    totals = {name: _median(part) for name, part in parts.items()}
    found, before = {"batch gathered": _median(lambda: pixels[rows])}, 0.0
    for name, total in totals.items():
        found[name], before = total - before, total
    return found


def _median(work: Callable[[], Any]) -> float:
    return 1000 * seconds_of(work, TURNS)


def grid_parts(base: TrialConfig) -> dict[str, float]:
    """Time the parts of a real grid, run once the images are in the cache."""
    flags = format_flags(base, leave_out=BY_VARIANT)
    with tempfile.TemporaryDirectory() as name:
        cache, once, timed = (Path(name) / part for part in ("cache", "once", "timed"))
        for folder in (once, timed):
            folder.mkdir()
        few = ["--epochs", "1", "--hidden-layers", "0", "--seed", "1"]
        run_module("study.train", [*flags, *few], once, cache)
        start = time.time()
        run_module("study.grid", flags, timed, cache)
        end = time.time()
        client = MlflowClient(f"sqlite:///{timed}/mlflow.db")
        return _grid_parts(
            client, queries.search_runs(client, "tags.finished = 'true'"), start, end
        )


def _grid_parts(
    client: MlflowClient, runs: list[Run], start: float, end: float
) -> dict[str, float]:
    spans = [(run.info.start_time / 1000, run.info.end_time / 1000) for run in runs]
    epochs = [_epoch_seconds(client, run) for run in runs]
    beside = [b - a - of_epochs for (a, b), of_epochs in zip(spans, epochs, strict=True)]
    return {
        "imports, databases made, worker begun": spans[0][0] - start,
        "epochs": sum(epochs),
        "the first trial beside them: imports, tracing, files": beside[0],
        "the other trials beside them": sum(beside[1:]),
        "from one to the next": sum(b[0] - a[1] for a, b in pairwise(spans)),
        "after the last": end - spans[-1][1],
    }


def _epoch_seconds(client: MlflowClient, run: Run) -> float:
    """Estimate the seconds of all epochs without tracing, from the later ones' median."""
    points = client.get_metric_history(run.info.run_id, "epoch_seconds")
    seconds = [point.value for point in sorted(points, key=lambda point: point.step)]
    return len(seconds) * statistics.median(seconds[1:] or seconds)


def rows_of(title: str, unit: str, parts: dict[str, float]) -> str:
    """Format a Markdown table with shares."""
    total = sum(parts.values())
    lines = [f"\n| {title} | {unit} | share |", "| --- | --- | --- |"]
    lines += [f"| {k} | {v:.2f} | {v / total:.1%} |" for k, v in parts.items()]
    return "\n".join([*lines, f"| together | {total:.2f} | |"])


def measure(args: argparse.Namespace) -> None:
    """Print the tables."""
    config = config_of(args, epochs=args.epochs, limit=args.limit)
    where = os.environ.get("DATA_DIR")
    if where:
        os.environ["DATA_DIR"] = os.path.abspath(where)  # noqa: PTH100 (a setting, not a path)
    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        os.environ.update(MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlflow.db")
        os.environ["STUDY_CACHE"] = f"{folder}/cache"
        train.train(config.replace(epochs=1, seed=1))  # reads the images, makes the database
        clock = trial_of(config)
        images = trial.prepare_trial(config, Progress(), use_cache=True).split.train
    step, trained = step_of(config), f"{config.backbone}, {config.image_size} px"
    steps = math.ceil(len(images) / config.batch_size)
    print(rows_of(f"a step of {config.batch_size} images, {trained}", "ms", step))
    print(rows_of(f"an epoch of {len(images)} images", "s", epoch_of(clock, step, steps)))
    of_trial = {"imports, of a worker's first trial": imports(), **clock.seconds}
    print(rows_of(f"a trial of {config.epochs} epochs", "s", of_trial))
    print(rows_of(f"a grid of {len(VARIANTS)} such trials", "s", grid_parts(config)))


def main() -> None:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--limit", type=int, default=600, help="images, 0 for all [default: 600]")
    add("--epochs", type=int, default=5, help="default: 5")
    measure(parser.parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
