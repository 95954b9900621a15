"""Hold what benchmarks.load has measured, and format it as a table."""

import itertools
import os
import statistics
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.load.clock import WorkerResult
from benchmarks.load.usage import Usage

MIN_GROWTH = 1.1  # of the rate with more workers; below it, they bring nothing


@dataclass(frozen=True)
class Level:
    """The results of a number of workers in a study with a number of ended trials."""

    workers: int
    before: int  # trials that the study had already
    results: Sequence[WorkerResult]
    usage: Usage
    refused: int  # connections, by PostgreSQL
    # to read all finished runs, as the driver of a search does when it starts
    reading_seconds: float

    @property
    def trials(self) -> int:
        """Return the number of trials finished."""
        return sum(result.trained for result in self.results)

    @property
    def seconds(self) -> float:
        """Return the seconds from the first worker's start to the end of the last trial."""
        end = max(result.ended_at for result in self.results)
        return max(end - min(result.started_at for result in self.results), 1e-3)

    @property
    def rate(self) -> float:
        """Return the trials per minute."""
        return 60 * self.trials / self.seconds

    @property
    def errors(self) -> Counter[str]:
        """Return the number of failed calls by message."""
        return sum((Counter(result.errors) for result in self.results), Counter())

    @property
    def cores(self) -> dict[str, float]:
        """Return the mean number of busy cores, by server and of the workers."""
        worker_cores = sum(result.cpu_seconds for result in self.results) / self.seconds
        return self.usage.cores | {"the workers": worker_cores}

    def format_milliseconds(self, purpose: str) -> str:
        """Format the median and the 95th percentile of the calls of one purpose."""
        seconds = [value for each in self.results for value in each.seconds.get(purpose, ())]
        if not seconds:
            return ""
        median = 1000 * statistics.median(seconds)
        return f"{median:,.0f}, {1000 * np.percentile(seconds, 95):,.0f}"


ROWS: dict[str, Callable[[Level], str]] = {
    "trials there already": lambda level: f"{level.before:,}",
    "trials finished": lambda level: str(level.trials),
    "**trials a minute**": lambda level: f"**{level.rate:.1f}**",
    "an epoch's figures to MLflow": lambda level: level.format_milliseconds("epoch"),
    "an epoch judged (Optuna)": lambda level: level.format_milliseconds("judging"),
    "a claim, with the wait for the lock": lambda level: level.format_milliseconds("claim"),
    "the lock, one worker at a time": lambda level: level.format_milliseconds("lock"),
    "finding that a config is not finished": lambda level: level.format_milliseconds("finding"),
    "opening a run": lambda level: level.format_milliseconds("opening"),
    "uploading its files": lambda level: level.format_milliseconds("files"),
    "a worker's first reading of the study": lambda level: level.format_milliseconds("joining"),
    "a driver's first reading of MLflow": lambda level: f"{1000 * level.reading_seconds:,.0f}",
    "failed calls": lambda level: str(level.errors.total()),
    "workers that gave up": lambda level: str(sum(bool(each.gave_up) for each in level.results)),
    "connections to PostgreSQL, most": lambda level: str(level.usage.connections),
    "connections refused": lambda level: str(level.refused),
    "busy cores: MLflow, PostgreSQL, workers": lambda level: ", ".join(
        f"{level.cores[name]:.2f}" for name in ("MLflow", "PostgreSQL", "the workers")
    ),
    "MiB: MLflow, PostgreSQL": lambda level: ", ".join(
        f"{level.usage.memory[name]:,.0f}" for name in ("MLflow", "PostgreSQL")
    ),
}


def format_table(levels: Sequence[Level]) -> str:
    """Format a Markdown table with a column for each level.

    Times are in ms: median and 95th percentile.
    """
    lines = [["workers", *[str(level.workers) for level in levels]]]
    lines += [["---"] * (len(levels) + 1)]
    lines += [[name, *map(format_cell, levels)] for name, format_cell in ROWS.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe_limit(levels: Sequence[Level]) -> str:
    """Say at how many workers throughput stops growing, and which cores are busy then."""
    limit = levels[-1]
    for level, more in itertools.pairwise(levels):
        if more.rate < MIN_GROWTH * level.rate:
            limit = level
            break
    busy = ", ".join(f"{name} {cores:.1f}" for name, cores in limit.cores.items())
    trend = "grows up to" if limit is levels[-1] else "stops growing at"
    return (
        f"Throughput {trend} {limit.workers} workers, {limit.rate:.0f} trials a minute; busy then "
        f"of {os.cpu_count()} cores: {busy}."
    )
