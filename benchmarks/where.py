"""Where the time goes: within a step, an epoch, a trial.

    DATA_DIR=../shared/data python -m benchmarks.where
    DATA_DIR=../shared/data python -m benchmarks.where --dataset blood --limit 400

A real `study.train` in a folder of its own (MLflow on SQLite), with a clock around its parts; the
parts of a step are timed on their own, as what each adds to the one before.
"""

import argparse
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from dotenv import load_dotenv

from benchmarks.rivals import SIZES
from study import train
from study import trial
from study.cli import quiet_stderr
from study.cli import run_command
from study.config import recipe
from study.config import TrialConfig
from study.runlog import RunLog

with quiet_stderr():
    import keras
    import tensorflow as tf

    from study import fit
    from study import fit_tf
    from study.model import compiled

# what is timed: where it is found, its name there, and what it is called in the table
PARTS: list[tuple[Any, str, str]] = [
    (train, "prepared", "images found, read from the cache, split"),
    (fit, "compiled", "model built, weights loaded"),
    (fit_tf.TensorFlowLoop, "train", "steps"),
    (fit_tf.TensorFlowLoop, "predict", "validation and test"),
    (fit, "_save_state", "state saved"),
    (RunLog, "log_epoch", "figures handed to the record"),
    (trial.artifacts, "write", "files written"),
]
TURNS = 5


def clocked(seconds: "Counter[str]", function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, which adds its time to a name's; parts of parts count in the inner one."""

    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start, before = time.perf_counter(), seconds.total()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] += time.perf_counter() - start - (seconds.total() - before)

    return timed


def trial_of(config: TrialConfig) -> "Counter[str]":
    """Seconds of a trial's parts, in this process, which has loaded all it needs."""
    seconds: Counter[str] = Counter()
    for place, attribute, name in PARTS:
        setattr(place, attribute, clocked(seconds, getattr(place, attribute), name))
    start = time.perf_counter()
    train.train(config)
    seconds["the rest: record opened, awaited and closed"] = (
        time.perf_counter() - start - seconds.total()
    )
    return seconds


def imports() -> float:
    """Seconds of a process that loads what a trial needs, and ends."""
    start = time.perf_counter()
    command = [sys.executable, "-c", "import study.train, study.fit, study.fit_tf"]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def step_of(config: TrialConfig) -> dict[str, float]:
    """Milliseconds that each part of a step adds."""
    model = compiled(config, 2)
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
    laps = []
    for _ in range(TURNS + 1):
        start = time.perf_counter()
        work()
        laps.append(1000 * (time.perf_counter() - start))
    return statistics.median(laps[1:])


def rows_of(title: str, unit: str, parts: dict[str, float]) -> str:
    """A markdown table, with shares."""
    total = sum(parts.values())
    lines = [f"\n| {title} | {unit} | share |", "| --- | --- | --- |"]
    lines += [f"| {k} | {v:.2f} | {v / total:.1%} |" for k, v in parts.items()]
    return "\n".join([*lines, f"| together | {total:.2f} | |"])


def measure(args: argparse.Namespace) -> None:
    """Print the tables."""
    config = recipe(args.dataset).replace(
        image_size=SIZES[args.dataset], epochs=args.epochs, limit=args.limit, weights="none"
    )
    where = os.environ.get("DATA_DIR")
    if where:
        os.environ["DATA_DIR"] = os.path.abspath(where)  # noqa: PTH100 (a setting, not a path)
    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        os.environ.update(MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlflow.db")
        os.environ["STUDY_CACHE"] = f"{folder}/cache"
        train.train(config.replace(epochs=1, seed=1))  # reads the images, makes the database
        seconds = trial_of(config)
    title = f"a trial of {config.epochs} epochs, {config.backbone}, {config.image_size} px"
    print(rows_of(title, "s", {"imports, of a worker's first trial": imports(), **seconds}))
    print(rows_of(f"a step of {config.batch_size} images", "ms", step_of(config)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", choices=tuple(SIZES), default="chest", help="default: chest")
    add("--limit", type=int, default=600, help="images, 0 for all [default: 600]")
    add("--epochs", type=int, default=5, help="default: 5")
    measure(parser.parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
