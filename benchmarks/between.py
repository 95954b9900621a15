"""Measure the time between two trials of a process, and the memory it keeps.

    DATA_DIR=../shared/data python -m benchmarks.between
    python -m benchmarks.between --dataset demo --trials 50

Trains the seven variants again and again in one process, one epoch each on few images, by the
study's own `fit`. The first trial also pays for what the later ones reuse.
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

from benchmarks.settings import config_of
from benchmarks.settings import parser_of
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.config import TrialConfig
from study.variants import variant_fields
from study.variants import VARIANTS

with quiet_stderr():
    from study.training import fit


def arrays_for(config: TrialConfig, steps: int) -> fit.Arrays:
    """Make random images: `steps` batches to train, one to validate, one to test."""
    count = config.batch_size * (steps + 2)
    shape = (count, config.image_size, config.image_size, 3)
    generator = np.random.default_rng(0)
    rows = np.split(np.arange(count), [-2 * config.batch_size, -config.batch_size])
    images = generator.integers(0, 256, shape, np.uint8)
    return fit.Arrays(images, generator.integers(0, 2, count), rows[0], rows[1], rows[2], 2)


def start_of(config: TrialConfig, arrays: fit.Arrays) -> float:
    """Return the seconds from the call of `fit` to its first step, that step left out."""
    ends = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        callbacks = fit.Callbacks(on_step=lambda *_: ends.append(time.perf_counter()))
        fit.fit(config, arrays, Path(folder), callbacks)
    steps = np.diff(ends)
    return float(steps[0] - np.median(steps[1:]))


def measure(args: argparse.Namespace) -> None:
    """Train, and print a row for every seventh trial."""
    base = config_of(args, epochs=1, weights=args.weights, precision=args.precision)
    arrays = arrays_for(base, steps=4)
    print(f"{base.backbone}, {base.image_size} px, {base.precision}\n")
    print("| trials | seconds to the first step: median, most | MiB |\n| --- | --- | --- |")
    seconds: list[float] = []
    for number in range(args.trials):
        variant = VARIANTS[number % len(VARIANTS)].number
        config = base.replace(**variant_fields(variant, base)).replace(seed=number)
        seconds.append(start_of(config, arrays))
        if number == 0 or number % len(VARIANTS) == len(VARIANTS) - 1 or number == args.trials - 1:
            memory = psutil.Process().memory_info().rss / 2**20
            shown = f"{statistics.median(seconds):.2f}, {max(seconds):.2f}"
            print(f"| {number + 1} | {shown} | {memory:.0f} |", flush=True)
            seconds.clear()


def main() -> None:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--weights", default="none", help="none, or FILE of the backbone [default: none]")
    add("--precision", default="float32", help="default: float32")
    add("--trials", type=int, default=50, help="default: 50")
    measure(parser.parse_args())


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
