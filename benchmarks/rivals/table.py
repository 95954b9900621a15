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


def format_table(runs: list[Run], who: list[str]) -> Iterator[str]:
    """Yield the lines of a Markdown table with medians over the repeats."""
    yield "| files | | seconds | / ours cold | / ours warm | CPU s | epoch s | loss, variant 7 |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for files in dict.fromkeys(run.files for run in runs):
        runs_by_name = {
            name: [run for run in runs if run.files == files and run.who == name] for name in who
        }
        seconds = {
            name: statistics.median(run.seconds for run in own)
            for name, own in runs_by_name.items()
        }
        for name, own in runs_by_name.items():
            cold, warm = (
                f"{seconds[name] / seconds[each]:.2f}" if each in seconds else "" for each in OURS
            )
            cpu = statistics.median(run.cpu_seconds for run in own)
            epochs = [each for run in own for each in run.grid.list_epoch_seconds()]
            epoch = f"{statistics.median(epochs):.2f}" if epochs else ""
            last = own[-1].grid.epochs[-1]
            losses = f"{last[0][1]:.3f} to {last[-1][1]:.3f}"
            yield (
                f"| {files} | {name} | {seconds[name]:.0f} | {cold} | {warm} | {cpu:.0f} | {epoch} "
                f"| {losses} |"
            )


def describe_machine() -> str:
    """Describe the processor and the versions of the packages in one line."""
    info = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    installed = {each.name.lower() for each in importlib.metadata.distributions()}
    versions = [
        f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if name in installed
    ]
    return ", ".join([match[1] if match else platform.processor(), *versions])
