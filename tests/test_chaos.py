"""Workers and drivers are killed, servers stopped and started: nothing is lost, nothing twice."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.workers.local import divide_cores
from tests.support.chaos import figures_of
from tests.support.chaos import FLAGS
from tests.support.chaos import LITTLE_TROUBLE
from tests.support.chaos import MUCH_TROUBLE
from tests.support.chaos import run_disturbed_grid
from tests.support.chaos import Trouble
from tests.support.commands import client_of
from tests.support.commands import finish
from tests.support.commands import runs_of
from tests.support.commands import start


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # which PostgreSQL's user may enter
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextlib.contextmanager
def cores_of_a_worker(workers: int) -> Iterator[None]:
    """As many for what is started within: with others, its sums would be rounded otherwise."""
    if not (cores := divide_cores(workers)[0]):  # then a worker takes all there are
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(LITTLE_TROUBLE, id="a few times"),
        pytest.param(
            MUCH_TROUBLE,
            marks=[pytest.mark.slow, pytest.mark.timeout(3600)],
            id="again and again",
        ),
    ],
)
def test_grid_under_kills_and_outages_equals_an_undisturbed_one(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: Path,
    tmp_path: Path,
    trouble: Trouble,
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # set again by the servers, taken away afterwards

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    came, figures = run_disturbed_grid(place, trouble, say)
    assert came.pop("finished") == trouble.cells
    came.pop("runs")
    assert set(came.values()) == {0}, came
    with cores_of_a_worker(trouble.workers):
        alone = start("study.grid", *FLAGS, *trouble.flags, cwd=tmp_path)
    assert finish(alone, seconds=3000).returncode == 0
    assert figures == figures_of(runs_of(client_of(tmp_path)))
