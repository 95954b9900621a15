"""Hold what benchmarks.load has measured, and format it as a table."""

import itertools
import os
import statistics
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.load.clock import Answer
from benchmarks.load.usage import Usage

GROWS = 1.1  # times the rate of fewer workers, or they bring nothing


@dataclass(frozen=True)
class Level:
    """What a number of workers did in a study with a number of ended trials."""

    workers: int
    before: int  # trials
    answers: Sequence[Answer]
    usage: Usage
    refused: int  # connections, by PostgreSQL
    reading: float  # s to read all finished runs, as a driver of a search does when it starts

    @property
    def trials(self) -> int:
        """Number of trials finished."""
        return sum(answer.trained for answer in self.answers)

    @property
    def seconds(self) -> float:
        """Seconds from the first worker's start to the end of the last trial."""
        answers = self.answers
        return max(max(a.ended for a in answers) - min(a.begun for a in answers), 1e-3)

    @property
    def rate(self) -> float:
        """Trials per minute."""
        return 60 * self.trials / self.seconds

    @property
    def errors(self) -> Counter[str]:
        """Number of failed calls by message."""
        return sum((Counter(answer.errors) for answer in self.answers), Counter())

    @property
    def cores(self) -> dict[str, float]:
        """Mean number of busy cores by process."""
        mine = sum(answer.cpu for answer in self.answers) / self.seconds
        return self.usage.cores | {"the workers": mine}

    def milliseconds(self, what: str) -> str:
        """Format the median and 95th percentile of a kind of call."""
        values = [v for answer in self.answers for v in answer.seconds.get(what, ())]
        if not values:
            return ""
        return f"{1000 * statistics.median(values):,.0f}, {1000 * np.percentile(values, 95):,.0f}"


ROWS: dict[str, Callable[[Level], str]] = {
    "trials there already": lambda level: f"{level.before:,}",
    "trials finished": lambda level: str(level.trials),
    "**trials a minute**": lambda level: f"**{level.rate:.1f}**",
    "an epoch's figures to MLflow": lambda level: level.milliseconds("epoch"),
    "an epoch judged (Optuna)": lambda level: level.milliseconds("judging"),
    "a claim, with the wait for its turn": lambda level: level.milliseconds("claim"),
    "the turn itself, one worker at a time": lambda level: level.milliseconds("turn"),
    "finding that a config is not finished": lambda level: level.milliseconds("finding"),
    "opening a run": lambda level: level.milliseconds("opening"),
    "uploading its files": lambda level: level.milliseconds("files"),
    "a worker's first reading of the study": lambda level: level.milliseconds("joining"),
    "a driver's first reading of MLflow": lambda level: f"{1000 * level.reading:,.0f}",
    "failed calls": lambda level: str(level.errors.total()),
    "workers that gave up": lambda level: str(sum(bool(a.gave_up) for a in level.answers)),
    "connections to PostgreSQL, most": lambda level: str(level.usage.connections),
    "connections refused": lambda level: str(level.refused),
    "busy cores: MLflow, PostgreSQL, workers": lambda level: ", ".join(
        f"{level.cores[name]:.2f}" for name in ("MLflow", "PostgreSQL", "the workers")
    ),
    "MiB: MLflow, PostgreSQL": lambda level: ", ".join(
        f"{level.usage.memory[name]:,.0f}" for name in ("MLflow", "PostgreSQL")
    ),
}


def table(levels: Sequence[Level]) -> str:
    """Format a Markdown table with a column for each level.

    Times are in ms: median and 95th percentile.
    """
    lines = [["workers", *[str(level.workers) for level in levels]]]
    lines += [["---"] * (len(levels) + 1)]
    lines += [[name, *map(told, levels)] for name, told in ROWS.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict(levels: Sequence[Level]) -> str:
    """Say from how many workers on throughput no longer grows, and what is busy then."""
    full = levels[-1]
    for level, more in itertools.pairwise(levels):
        if more.rate < GROWS * level.rate:
            full = level
            break
    busy = ", ".join(f"{name} {cores:.1f}" for name, cores in full.cores.items())
    grown = "grows up to" if full is levels[-1] else "stops growing at"
    return (
        f"Throughput {grown} {full.workers} workers, {full.rate:.0f} trials a minute; busy then "
        f"of {os.cpu_count()} cores: {busy}."
    )
