"""Compare training steps that reuse freed memory with steps that get new memory each time.

    python -m benchmarks.memory --image-size 224
    python -m benchmarks.memory --dataset blood --precision mixed_bfloat16

Alternately starts processes that keep their freed memory (`study.common.memory`), as trials do, and
processes that return it to the system, as glibc does by default. Each takes training steps of the
study's own model on random images.
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from dotenv import load_dotenv

from benchmarks.settings import make_config
from benchmarks.settings import make_parser
from study.common.command import quiet_stderr
from study.common.command import run_command
from study.common.memory import keep_freed_memory
from study.config.trial_config import TrialConfig

WARM_UP = 2  # steps that do not count
KINDS = {"returned": None, "kept": keep_freed_memory}


class StepCost(NamedTuple):
    """The median cost of a training step in one process."""

    seconds: float
    system_seconds: float  # CPU time in the kernel
    page_faults: float
    peak_memory: int  # bytes


def measure_steps(config: TrialConfig, steps: int) -> StepCost:
    """Measure training steps in this process."""
    with quiet_stderr():
        from study.training import runtime
        from study.training.arrays import Arrays
        from study.training.loop import make_loop
        from study.training.model import build_compiled_model
    count = config.batch_size * (WARM_UP + steps)
    shape = (count, config.image_size, config.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    rows = np.arange(count)
    arrays = Arrays(images, rows % 2, rows, rows[:1], rows[:1], 2)
    runtime.prepare_backend()
    loop = make_loop(config, arrays, build_compiled_model(config, 2))
    times: list[tuple[float, resource.struct_rusage]] = []
    loop.train(
        rows,
        lambda *_: times.append((time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF))),
    )
    laps = np.diff([at for at, _ in times])[WARM_UP - 1 :]
    first = times[WARM_UP - 1][1]
    last = times[-1][1]
    return StepCost(
        float(np.median(laps)),
        (last.ru_stime - first.ru_stime) / steps,
        (last.ru_minflt - first.ru_minflt) / steps,
        last.ru_maxrss * 1024,
    )


def compare_kinds(config: TrialConfig, repeats: int, steps: int) -> None:
    """Measure both kinds of processes alternately, and print their medians and the ratio."""
    costs: dict[str, list[StepCost]] = {kind: [] for kind in KINDS}
    context = multiprocessing.get_context("spawn")
    for _ in range(repeats):
        for kind, initializer in KINDS.items():
            with ProcessPoolExecutor(1, context, initializer) as pool:
                costs[kind].append(pool.submit(measure_steps, config, steps).result())
    print(
        f"{config.backbone}, {config.image_size} px, batch {config.batch_size}, "
        f"{config.precision}; medians of {repeats}\n"
    )
    print("| freed memory | s a step | of it in the kernel | page faults | peak memory |")
    print("| --- | --- | --- | --- | --- |")
    for kind, measured in costs.items():
        seconds, system, faults, memory = map(statistics.median, zip(*measured, strict=True))
        print(
            f"| {kind} | {seconds:.3f} | {system:.2f} | {faults:,.0f} | {memory / 2**30:.2f} GiB |"
        )
    pairs = zip(costs["returned"], costs["kept"], strict=True)
    ratios = [returned.seconds / kept.seconds for returned, kept in pairs]
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"\nreturned / kept: {statistics.median(ratios):.2f} ({each})")


def main() -> None:
    """Run the command."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--precision", default="float32", help="dtype of the computation [default: float32]")
    add("--repeats", type=int, default=3, help="processes of each kind [default: 3]")
    add("--steps", type=int, default=10, help="that count [default: 10]")
    args: argparse.Namespace = parser.parse_args()
    compare_kinds(make_config(args, precision=args.precision), args.repeats, args.steps)


if __name__ == "__main__":
    load_dotenv(".env")
    sys.exit(run_command(main))
