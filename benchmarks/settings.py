"""Flags, configs and subprocesses that benchmarks share.

The image sizes suit two cores.
"""

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.common.errors import StudyError
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig

SIZES = {"chest": 128, "blood": 96, "demo": 32}  # pixels


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """Make a parser with `--dataset` and `--image-size`."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    pixels = ", ".join(f"{size} for {name}" for name, size in SIZES.items())
    add("--dataset", choices=tuple(SIZES), default="chest", help="whose recipe [default: chest]")
    add("--image-size", type=int, help=f"pixels [default: {pixels}]")
    return parser


def make_config(args: argparse.Namespace, **fields: Any) -> TrialConfig:
    """Return the requested recipe with these fields, by default untrained."""
    size = args.image_size or SIZES[args.dataset]
    return recipe(args.dataset).replace(**{"image_size": size, "weights": "none", **fields})


def run_module(module: str, flags: Sequence[str], folder: Path, cache: Path) -> float:
    """Run a module as a command in a folder, and return its CPU seconds.

    Raises:
        StudyError: it failed.
    """
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "STUDY_"))}
    settings |= {"STUDY_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[1])}
    settings |= {"DATA_DIR": str(Path(os.environ.get("DATA_DIR") or ".").resolve())}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    log_file = folder / "log.txt"
    with log_file.open("a") as log:
        command = [sys.executable, "-m", module, *flags]
        process = subprocess.run(command, cwd=folder, env=settings, stdout=log, stderr=log)
    if process.returncode != 0:
        lines = [line for line in log_file.read_text().split("\n") if line.strip()]
        reason = lines[-1] if lines else f"exit code {process.returncode}"
        raise StudyError(f"{module} failed: {reason}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
