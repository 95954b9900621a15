"""Format the table of `benchmarks.rivals`, and describe the machine."""

import importlib.metadata
import platform
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rivals.job import Grid

OURS = ("ours cold", "ours warm")
PACKAGES = ("tensorflow", "keras", "keras-tuner", "torch", "torchvision", "mlflow", "optuna")


@dataclass(frozen=True)
class Run:
    """One grid, trained by one rival or by the study."""

    files: str
    who: str
    seconds: float
    cpu_seconds: float
    grid: Grid


def table(runs: list[Run], who: list[str]) -> Iterator[str]:
    """Yield the lines of a Markdown table with medians over the repeats."""
    yield "| files | | seconds | / ours cold | / ours warm | CPU s | epoch s | loss, variant 7 |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for files in dict.fromkeys(run.files for run in runs):
        by = {name: [r for r in runs if (r.files, r.who) == (files, name)] for name in who}
        seconds = {name: statistics.median(r.seconds for r in own) for name, own in by.items()}
        for name, own in by.items():
            cold, warm = (
                f"{seconds[name] / seconds[each]:.2f}" if each in seconds else "" for each in OURS
            )
            cpu = statistics.median(run.cpu_seconds for run in own)
            later = [lap for run in own for lap in run.grid.epoch_seconds()]
            lap = f"{statistics.median(later):.2f}" if later else ""
            last = own[-1].grid.epochs[-1]
            losses = f"{last[0][1]:.3f} to {last[-1][1]:.3f}"
            yield (
                f"| {files} | {name} | {seconds[name]:.0f} | {cold} | {warm} | {cpu:.0f} | {lap} "
                f"| {losses} |"
            )


def machine() -> str:
    """Describe the processor and the packages' versions in one line."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    have = {each.name.lower() for each in importlib.metadata.distributions()}
    versions = [f"{n} {importlib.metadata.version(n)}" for n in PACKAGES if n in have]
    return ", ".join([found[1] if found else platform.processor(), *versions])
