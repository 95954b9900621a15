"""Compare trainings on cores of their own with one training on all cores.

    python -m benchmarks.workers
    python -m benchmarks.workers --dataset blood --precision mixed_bfloat16

The workers are those of `study.grid --workers N`. Each trains the study's model on random images.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextlib import ExitStack
from itertools import pairwise

import psutil

from benchmarks.settings import make_config
from benchmarks.settings import make_parser
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.config.trial_config import TrialConfig
from study.workers.local import make_local_workers

SECONDS = 20.0  # that each training lasts


def measure_pace(config: TrialConfig) -> float:
    """Return the images per second of one training, computed from its median step.

    It is called in a worker.
    """
    with quiet_stderr():
        from benchmarks.between import make_random_arrays
        from study.training import runtime
        from study.training.loop import make_loop
        from study.training.model import build_compiled_model

    runtime.prepare_backend()
    arrays = make_random_arrays(config, steps=8)
    loop = make_loop(config, arrays, build_compiled_model(config, arrays.num_classes))
    loop.train(arrays.train, lambda *_: None)  # the first call also traces the graph
    ends = [time.monotonic()]
    deadline = ends[0] + SECONDS
    while ends[-1] < deadline:
        loop.train(arrays.train, lambda *_: ends.append(time.monotonic()))
    return config.batch_size / statistics.median(b - a for a, b in pairwise(ends))


def measure_together(config: TrialConfig, count: int) -> float:
    """Return the images per second of `count` workers together."""
    with ExitStack() as stack, ThreadPoolExecutor(count) as threads:
        workers = [stack.enter_context(closing(worker)) for worker in make_local_workers(count)]
        calls = [
            threads.submit(worker.call, f"{__spec__.name}:measure_pace", config)
            for worker in workers
        ]
        return float(sum(call.result() for call in calls))


def list_worker_counts() -> Iterator[int]:
    """Yield 1, 2, 4 and so on, up to one worker per core."""
    cores = len(psutil.Process().cpu_affinity())
    count = 1
    while count <= cores:
        yield count
        count *= 2


def print_table(args: argparse.Namespace) -> None:
    """Measure and print a row for each number of workers."""
    config = make_config(args, precision=args.precision)
    print(f"{config.backbone}, {config.image_size} px, {config.precision}\n")
    print("| workers | images/s together | ratio |\n| --- | --- | --- |")
    first_speed = 0.0  # images per second
    for count in list_worker_counts():
        speed = measure_together(config, count)
        first_speed = first_speed or speed
        print(f"| {count} | {speed:.1f} | {speed / first_speed:.2f} |", flush=True)


def main() -> None:
    """Run the command."""
    parser = make_parser(__doc__)
    parser.add_argument("--precision", default="float32", help="default: float32")
    print_table(parser.parse_args())


if __name__ == "__main__":
    sys.exit(run_command(main))
