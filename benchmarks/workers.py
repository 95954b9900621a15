"""Compare several trainings at once, each on its own cores, with one on all cores.

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

from benchmarks.settings import config_of
from benchmarks.settings import parser_of
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.config import TrialConfig
from study.workers.local import make_local_workers

SECONDS = 20.0  # of each training


def pace(config: TrialConfig) -> float:
    """Return the images per second of one training in a worker, by its median step."""
    with quiet_stderr():
        from benchmarks.between import arrays_for
        from study.training import fit
        from study.training import runtime

    runtime.prepare_backend()
    arrays = arrays_for(config, steps=8)
    loop = fit.make_loop(config, arrays, fit.build_compiled_model(config, arrays.num_classes))
    loop.train(arrays.train, lambda *_: None)  # traces
    ends, end = [time.monotonic()], time.monotonic() + SECONDS
    while ends[-1] < end:
        loop.train(arrays.train, lambda *_: ends.append(time.monotonic()))
    return config.batch_size / statistics.median(b - a for a, b in pairwise(ends))


def together(config: TrialConfig, count: int) -> float:
    """Return the images per second of `count` workers together."""
    with ExitStack() as stack, ThreadPoolExecutor(count) as threads:
        workers = [stack.enter_context(closing(worker)) for worker in make_local_workers(count)]
        calls = [threads.submit(worker.call, f"{__spec__.name}:pace", config) for worker in workers]
        return sum(call.result() for call in calls)


def counts() -> Iterator[int]:
    """Yield 1, 2, 4 and so on, up to one worker per core."""
    count, cores = 1, len(psutil.Process().cpu_affinity())
    while count <= cores:
        yield count
        count *= 2


def measure(args: argparse.Namespace) -> None:
    """Print a row for each number of workers."""
    config = config_of(args, precision=args.precision)
    print(f"{config.backbone}, {config.image_size} px, {config.precision}\n")
    print("| workers | images/s together | ratio |\n| --- | --- | --- |")
    first = 0.0
    for count in counts():
        speed = together(config, count)
        first = first or speed
        print(f"| {count} | {speed:.1f} | {speed / first:.2f} |", flush=True)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--precision", default="float32", help="default: float32")
    measure(parser.parse_args())


if __name__ == "__main__":
    sys.exit(run_command(main))
