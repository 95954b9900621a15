"""Measure the time between two trials of a process, and the memory it keeps.

    DATA_DIR=../shared/data python -m benchmarks.between
    python -m benchmarks.between --dataset demo --trials 50

Trains the seven variants again and again in one process, by the study's own `fit`, for one epoch
each on few images. The first trial takes longer, because it makes what the later ones reuse.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from dotenv import load_dotenv

from benchmarks.settings import make_config
from benchmarks.settings import make_parser
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.common.memory import keep_freed_memory
from study.config.trial_config import TrialConfig
from study.training.arrays import Arrays
from study.variants import variant_fields
from study.variants import VARIANTS

with quiet_stderr():
    from study.training import fit


def make_random_arrays(config: TrialConfig, steps: int) -> Arrays:
    """Make random images: `steps` batches to train, one to validate, one to test."""
    count = config.batch_size * (steps + 2)
    shape = (count, config.image_size, config.image_size, 3)
    generator = np.random.default_rng(0)
    rows = np.split(np.arange(count), [-2 * config.batch_size, -config.batch_size])
    images = generator.integers(0, 256, shape, np.uint8)
    return Arrays(images, generator.integers(0, 2, count), rows[0], rows[1], rows[2], 2)


def measure_start(config: TrialConfig, arrays: Arrays) -> float:
    """Return the seconds from the call of `fit` to the start of its first step."""
    ends = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        callbacks = fit.Callbacks(on_step=lambda *_: ends.append(time.perf_counter()))
        fit.fit(config, arrays, Path(folder), callbacks)
    steps = np.diff(ends)
    return float(steps[0] - np.median(steps[1:]))


def print_table(args: argparse.Namespace) -> None:
    """Train, and print a row for the first trial, every seventh, and the last."""
    base = make_config(args, epochs=1, weights=args.weights, precision=args.precision)
    arrays = make_random_arrays(base, steps=4)
    print(f"{base.backbone}, {base.image_size} px, {base.precision}\n")
    print("| trials | seconds to the first step: median, most | MiB |\n| --- | --- | --- |")
    seconds: list[float] = []
    for number in range(args.trials):
        variant = VARIANTS[number % len(VARIANTS)].number
        config = base.replace(**variant_fields(variant, base)).replace(seed=number)
        seconds.append(measure_start(config, arrays))
        if number == 0 or number % len(VARIANTS) == len(VARIANTS) - 1 or number == args.trials - 1:
            memory = psutil.Process().memory_info().rss / 2**20
            median = statistics.median(seconds)
            print(f"| {number + 1} | {median:.2f}, {max(seconds):.2f} | {memory:.0f} |", flush=True)
            seconds.clear()


def main() -> None:
    """Run the command."""
    keep_freed_memory()  # as every process that trains
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--weights", default="none", help="none, or a weights FILE of the backbone [default: none]")
    add("--precision", default="float32", help="default: float32")
    add("--trials", type=int, default=50, help="default: 50")
    print_table(parser.parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
