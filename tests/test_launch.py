"""Work in a process of its own: real processes, killed for real."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from study.config import StudyError
from study.launch import Worker
from study.launch import WorkerDied

from .commands import start
from .commands import wait_until


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


def test_the_value_comes_back_from_one_other_process(worker: Worker) -> None:
    (first, process), (second, same) = (
        worker.call("tests.launch_tasks:double", number) for number in (21, 4)
    )
    assert (first, second) == (42, 8)
    assert process == same != os.getpid()


def test_an_error_comes_back_as_it_was_raised(worker: Worker) -> None:
    with pytest.raises(StudyError, match=r"^no room$"):
        worker.call("tests.launch_tasks:refuse", "no room")
    assert worker.call("tests.launch_tasks:double", 1)[0] == 2


def test_a_killed_process_is_replaced(worker: Worker) -> None:
    before = worker.call("tests.launch_tasks:double", 1)[1]
    with pytest.raises(WorkerDied, match="killed") as caught:
        worker.call("tests.launch_tasks:die")
    assert "\n" not in str(caught.value)
    value, after = worker.call("tests.launch_tasks:double", 5)
    assert value == 10
    assert after != before


def test_the_process_ends_with_its_worker() -> None:
    with Worker() as worker:
        process = psutil.Process(worker.call("tests.launch_tasks:double", 1)[1])
        assert process.is_running()
    wait_until(lambda: not process.is_running(), seconds=20)


def test_the_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    parent = start("tests.launch_tasks", str(told), cwd=tmp_path)
    wait_until(told.exists, parent)
    process = psutil.Process(int(told.read_text()))
    assert process.ppid() == parent.pid
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_alive(process), seconds=20)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that nobody has collected yet does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
