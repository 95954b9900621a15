"""Work in a process of its own: real processes, killed for real."""

import os
import signal
import threading
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from study.common.errors import StudyError
from study.common.errors import WorkerDied
from study.workers import gpus
from study.workers.local import LocalWorker
from study.workers.local import make_local_workers
from tests.support.commands import start
from tests.support.commands import wait_until


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalWorker]:
    with closing(LocalWorker()) as worker:
        yield worker


def test_call_returns_the_value_from_one_other_process(worker: LocalWorker) -> None:
    (first, process), (second, same) = (
        worker.call("tests.support.launch_tasks:double", number) for number in (21, 4)
    )
    assert (first, second) == (42, 8)
    assert process == same != os.getpid()


def test_call_that_raises_a_study_error_raises_it_here(worker: LocalWorker) -> None:
    with pytest.raises(StudyError, match=r"^no room$"):
        worker.call("tests.support.launch_tasks:raise_study_error", "no room")
    assert worker.call("tests.support.launch_tasks:double", 1)[0] == 2


def test_killed_process_is_replaced(worker: LocalWorker) -> None:
    before = worker.call("tests.support.launch_tasks:double", 1)[1]
    with pytest.raises(WorkerDied, match="killed") as caught:
        worker.call("tests.support.launch_tasks:die")
    assert "\n" not in str(caught.value)
    value, after = worker.call("tests.support.launch_tasks:double", 5)
    assert value == 10
    assert after != before


def test_worker_with_a_preload_starts_before_its_first_call(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with closing(
        LocalWorker({"TOLD": str(told)}, preload="tests.support.launch_tasks:write_process_id")
    ) as worker:
        wait_until(told.exists, seconds=20)
        assert worker.call("tests.support.launch_tasks:double", 4) == (8, int(told.read_text()))


def test_preload_under_way_ends_with_its_worker(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with closing(
        LocalWorker(
            {"TOLD": str(told)}, preload="tests.support.launch_tasks:write_process_id_and_sleep"
        )
    ):
        wait_until(told.exists, seconds=20)
        process = psutil.Process(int(told.read_text()))
    wait_until(lambda: not process.is_running(), seconds=20)


def test_process_that_dies_in_its_preload_is_replaced() -> None:
    with closing(LocalWorker(preload="tests.support.launch_tasks:die")) as worker:
        with pytest.raises(WorkerDied):
            worker.call("tests.support.launch_tasks:double", 1)
        assert worker.call("tests.support.launch_tasks:double", 2)[0] == 4


def test_process_ends_with_its_worker() -> None:
    with closing(LocalWorker()) as worker:
        process = psutil.Process(worker.call("tests.support.launch_tasks:double", 1)[1])
        assert process.is_running()
    wait_until(lambda: not process.is_running(), seconds=20)


def test_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    parent = start("tests.support.launch_tasks", str(told), cwd=tmp_path)
    wait_until(told.exists, parent)
    process = psutil.Process(int(told.read_text()))
    assert process.ppid() == parent.pid
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_alive(process), seconds=20)


def call_and_meanwhile(do: Callable[[], None], worker: LocalWorker, told: Path) -> None:
    """Have a worker sleep, and do something once it does."""
    thread = threading.Thread(target=lambda: (wait_until(told.exists), do()))
    thread.start()
    try:
        worker.call("tests.support.launch_tasks:sleep_until_interrupted", str(told))
    finally:
        thread.join()


def test_interrupted_worker_ends_its_call_and_refuses_later_ones(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with closing(LocalWorker()) as worker:
        process = worker.call("tests.support.launch_tasks:double", 1)[1]

        def interrupt() -> None:
            for _ in range(
                3
            ):  # as `run_workers` does until it has ended; cleaning up is not cut off
                worker.interrupt()

        with pytest.raises(KeyboardInterrupt):
            call_and_meanwhile(interrupt, worker, told)
        assert told.read_text() == str(process)
        assert Path(f"{told}.told").read_text() == "interrupted\n"
        with pytest.raises(KeyboardInterrupt):
            worker.call("tests.support.launch_tasks:double", 1)


def test_sigterm_to_a_worker_alone_cleans_up_and_replaces_its_process(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with closing(LocalWorker()) as worker:

        def terminate() -> None:
            os.kill(int(told.read_text()), signal.SIGTERM)

        with pytest.raises(WorkerDied, match="was told to stop"):
            call_and_meanwhile(terminate, worker, told)
        assert Path(f"{told}.told").read_text() == "interrupted\n"
        value, process = worker.call("tests.support.launch_tasks:double", 2)
        assert (value, process != int(told.read_text())) == (4, True)


def test_cancelled_call_cleans_up_and_the_worker_takes_later_ones(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with closing(LocalWorker()) as worker:
        with pytest.raises(WorkerDied):
            call_and_meanwhile(worker.cancel, worker, told)
        assert Path(f"{told}.told").read_text() == "interrupted\n"
        assert worker.call("tests.support.launch_tasks:double", 2)[0] == 4


def test_sigterm_to_all_processes_is_a_request_to_stop(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with closing(LocalWorker()) as worker:

        def terminate() -> None:
            os.kill(int(told.read_text()), signal.SIGTERM)
            wait_until(Path(f"{told}.told").exists)
            worker.interrupt()  # as the driver does, which hears of it a moment later

        with pytest.raises(KeyboardInterrupt):
            call_and_meanwhile(terminate, worker, told)


def test_sigterm_to_an_idle_worker_ends_its_process() -> None:
    with closing(LocalWorker()) as worker:
        process = psutil.Process(worker.call("tests.support.launch_tasks:double", 1)[1])
        process.terminate()
        wait_until(lambda: not is_alive(process), seconds=20)


def test_worker_interrupted_before_its_first_call_starts_nothing() -> None:
    before = psutil.Process().children()
    with closing(LocalWorker()) as worker:
        worker.interrupt()
        with pytest.raises(KeyboardInterrupt):
            worker.call("tests.support.launch_tasks:double", 1)
        assert psutil.Process().children() == before


def test_process_ignores_ctrl_c_in_the_terminal(worker: LocalWorker) -> None:
    process = worker.call("tests.support.launch_tasks:double", 1)[1]
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    (ignored,) = (line.split()[1] for line in status if line.startswith("SigIgn"))
    assert int(ignored, 16) >> (signal.SIGINT - 1) & 1
    os.kill(process, signal.SIGINT)
    assert worker.call("tests.support.launch_tasks:double", 1)[1] == process


def test_process_is_replaced_after_an_error_of_a_library(worker: LocalWorker) -> None:
    before = worker.call("tests.support.launch_tasks:double", 1)[1]
    with pytest.raises(StudyError):
        worker.call("tests.support.launch_tasks:raise_study_error", "one of ours")
    assert worker.call("tests.support.launch_tasks:double", 1)[1] == before
    with pytest.raises(ArithmeticError, match=r"^of a library$"):
        worker.call("tests.support.launch_tasks:raise_arithmetic_error")
    assert worker.call("tests.support.launch_tasks:double", 1)[1] != before
    assert not psutil.pid_exists(before)


DEVICES, GROWTH = "CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH"


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make this machine look like one with two GPUs."""
    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / address).mkdir(parents=True)
    monkeypatch.setattr(gpus, "INSTALLED", tmp_path / "gpus")


@pytest.mark.usefixtures("two_gpus")
def test_workers_on_one_gpu_divide_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(DEVICES, "0,1")
    name = "XLA_PYTHON_CLIENT_MEM_FRACTION"
    for count, given, share in ((2, None, None), (4, None, "0.450"), (5, None, "0.300"),
                                (4, "0.1", "0.1")):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
        if given is not None:
            monkeypatch.setenv(name, given)
        workers = make_local_workers(count)
        assert workers[-1].call("os:getenv", name) == share
        for worker in workers:
            worker.close()


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("visible", "count", "devices", "growth"),
    [
        ("0,1", 3, ["0", "1", "0"], "true"),
        ("GPU-a,GPU-b", 2, ["GPU-a", "GPU-b"], None),
        ("0,1", 1, ["0,1"], None),
        (" 0 , 1 ", 2, ["0", "1"], None),
        ("", 2, ["", ""], None),
    ],
)
def test_workers_divide_the_gpus(
    monkeypatch: pytest.MonkeyPatch,
    visible: str,
    count: int,
    devices: list[str],
    growth: str | None,
) -> None:
    monkeypatch.setenv(DEVICES, visible)
    monkeypatch.delenv(GROWTH, raising=False)
    workers = make_local_workers(count)
    assert len(workers) == count
    for worker, device in zip(workers, devices, strict=True):
        with closing(worker):
            seen = [worker.call("os:getenv", name) for name in (DEVICES, GROWTH)]
        assert seen == [device, growth]
    assert os.environ[DEVICES] == visible


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only on Linux")
@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("count", "visible"), [(1, ""), (2, "-1"), (2, "NoDevFiles"), (1000, "")])
def test_workers_without_gpus_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, count: int, visible: str
) -> None:
    monkeypatch.setenv(DEVICES, visible)
    cores = sorted(os.sched_getaffinity(0))
    found = []
    for worker in make_local_workers(count)[:2]:
        with closing(worker):
            found.append(worker.call("tests.support.launch_tasks:cores"))
    size = len(cores) // count
    wanted = [cores[:size], cores[size : 2 * size]] if size else [cores, cores]
    assert found == wanted[:count]
    assert sorted(os.sched_getaffinity(0)) == cores


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that nobody has collected yet does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
