"""Measure whether an audit's time and memory grow linearly with the files.

    python -m benchmarks.audit --images 10000

Audits a folder of N tiny files and one of 2N, each in a process of its own, without the search for
near-duplicates. A time ratio near 2 means linear growth. Memory is how much the process has grown
at its peak, and the bytes per file should be the same for both sizes.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from study.common.cache import cache_dir
from study.common.command import run_command
from study.common.folder_names import make_folder_name
from study.data.audit.facts import build_audit
from study.data.audit.facts import ImageEvidence
from study.data.audit.scan import scan_images
from study.data.digest import compute_digest
from study.data.digest import hash_files
from study.data.registry import get_dataset

SIDE = 4  # pixels


@dataclass(frozen=True)
class Cost:
    """The cost of auditing one folder."""

    images: int
    seconds: Mapping[str, float]  # by step
    memory: int  # bytes at the peak, less those at the start

    @property
    def total(self) -> float:
        """Return the seconds of all steps."""
        return sum(self.seconds.values())


def make_images(root: Path, count: int) -> None:
    """Write `count` different images: ten of class b, the others of class a."""
    for number in range(count):
        file = root / ("b" if number < 10 else "a") / f"{number:07}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        color = (number & 255, number >> 8 & 255, number >> 16)
        Image.new("RGB", (SIDE, SIDE), color).save(file)


def measure_scan(root: Path) -> Cost:
    """Audit a folder in this process, which should have done nothing else."""
    start_memory = read_peak_memory()
    marks = [time.perf_counter()]
    listing = get_dataset(make_folder_name(root)).find()
    marks.append(time.perf_counter())
    hashes = hash_files(listing, None, remember=False)
    digest = compute_digest(listing, hashes)
    marks.append(time.perf_counter())
    records = scan_images(listing, hashes, root.parent / f"{root.name}-work", None)
    marks.append(time.perf_counter())
    build_audit(ImageEvidence("benchmark", digest, listing, hashes, records, [], ""))
    marks.append(time.perf_counter())
    names = ("listing", "hashing", "scanning", "findings")
    seconds = {name: marks[n + 1] - marks[n] for n, name in enumerate(names)}
    return Cost(len(records), seconds, read_peak_memory() - start_memory)


def read_peak_memory() -> int:
    """Return the peak memory of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB on Linux


def print_report(single: Cost, double: Cost) -> None:
    """Print a line for each step, with the ratio of both sizes."""
    print(f"{'files':12}{single.images:>12,}{double.images:>12,}   ratio")
    for name, seconds in single.seconds.items():
        print(_format_seconds(name, seconds, double.seconds[name]))
    print(f"{_format_seconds('together', single.total, double.total)}   target 2.2 or less")
    megabytes = [cost.memory / 1e6 for cost in (single, double)]
    ratio = megabytes[1] / megabytes[0]
    print(
        f"{'memory':12}{megabytes[0]:>9.1f} MB{megabytes[1]:>9.1f} MB{ratio:>8.2f}   "
        "target 2.2 or less"
    )
    per_file = [round(cost.memory / cost.images) for cost in (single, double)]
    print(f"{'per file':12}{per_file[0]:>10,} B{per_file[1]:>10,} B")


def _format_seconds(name: str, single: float, double: float) -> str:
    return f"{name:12}{single:>10.2f} s{double:>10.2f} s{double / single:>8.2f}"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000, help="N [default: 10000]")
    count = parser.parse_args().images
    costs = []
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="bench-") as folder:
        for images in (count, 2 * count):
            make_images(root := Path(folder) / str(images), images)
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                costs.append(pool.submit(measure_scan, root).result())
    print_report(*costs)


if __name__ == "__main__":
    sys.exit(run_command(main))
