"""Time the `--help` of every command, here and in another checkout.

    python -m benchmarks.prompt
    python -m benchmarks.prompt --against ../before

A refused flag costs the same. The figures are seconds of CPU time, the least of several calls, so
that other work on the machine matters little.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

from study.common.command import run_command
from study.common.errors import StudyError

COMMANDS = (
    "study.train",
    "study.grid",
    "study.tpe",
    "study.offline",
    "study.sync",
    "study.predict",
    "study.data.audit",
    "pipelines.export",
    "pipelines.report",
    "pipelines.power",
    "pipelines.cases",
)
HERE = Path(__file__).parents[1]


def measure_help(checkout: Path, module: str, calls: int) -> float:
    """Return the CPU seconds of a command's `--help`, the least of some calls.

    Raises:
        StudyError: the checkout has no such command.
    """
    seconds = []
    for _ in range(calls):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", module, "--help"]
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
        if done.returncode != 0:
            raise StudyError(f"{module} --help failed in {checkout}: {done.stderr[-200:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="FOLDER", type=Path, help="another checkout")
    parser.add_argument("--calls", metavar="N", type=int, default=5, help="each [default: 5]")
    args = parser.parse_args()
    columns = "| s here |" if args.against is None else "| s here | s there | ratio |"
    print(f"| `--help` of {columns}")
    print(f"| --- {'| --- ' * (columns.count('|') - 1)}|")
    for module in COMMANDS:
        here = measure_help(HERE, module, args.calls)
        line = f"| `{module}` | {here:.2f} |"
        if args.against is not None:
            there = measure_help(args.against, module, args.calls)
            line += f" {there:.2f} | {there / here:.1f} |"
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
