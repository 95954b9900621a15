"""benchmarks.load on real servers, with a tiny load; benchmarks.cost."""

import re
import subprocess
import sys

import pytest

from benchmarks.cost import Study
from benchmarks.cost import table
from tests.support.commands import ROOT


def rows_of(markdown: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in markdown.splitlines() if "|" in line]
    return {line[0].strip("*"): line[1:] for line in lines}


@pytest.mark.slow
def test_load_records_whole_trials_beside_few_and_beside_more() -> None:
    flags = ("--workers", "2", "--trials", "1", "--prefill", "0", "20", "--sampler", "random")
    command = [sys.executable, "-m", "benchmarks.load", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    assert rows["trials there already"] == ["0", "20"]
    assert rows["trials finished"] == ["6", "6"]
    assert rows["failed calls"] == rows["workers that gave up"] == ["0", "0"]
    assert all(
        re.fullmatch(r"[\d,]+, [\d,]+", cell) for cell in rows["an epoch's figures to MLflow"]
    )


def test_cost_is_hours_times_price_and_workers_are_enough() -> None:
    study = Study(100, speed=31.25, price=0.5, wall=86400)  # 3,600 s a trial
    rows = rows_of(table([study], capacity=10))
    assert rows["hours of a worker"] == ["100.0"]
    assert rows["money"] == ["50.00"]
    assert rows["workers"] == ["5"]  # of 24 trials each at most
    assert rows["done after"] == ["20.0 h"]


def test_a_trial_longer_than_the_time_there_is_gets_a_worker_of_its_own() -> None:
    assert Study(7, speed=31.25, price=1, wall=60).workers == 7
