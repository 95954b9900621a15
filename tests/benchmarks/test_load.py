import re
import subprocess
import sys

import pytest

from tests.support.commands import ROOT


def rows_of(markdown: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in markdown.splitlines() if "|" in line]
    return {line[0].strip("*"): line[1:] for line in lines}


@pytest.mark.slow
def test_load_with_and_without_earlier_trials_records_whole_trials() -> None:
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
