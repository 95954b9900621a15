"""What worker processes run in tests; run as a module, it is a parent that can be killed."""

import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

from study.common.errors import StudyError
from study.workers.local import LocalWorker


def double(number: int) -> tuple[int, int]:
    """The double, and the process that worked it out."""
    return 2 * number, os.getpid()


def raise_study_error(reason: str) -> None:
    raise StudyError(reason)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raise_arithmetic_error() -> None:
    raise ArithmeticError("of a library")


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def is_imported(module: str) -> bool:
    return module in sys.modules


def write_process_id(path: str | None = None) -> None:
    """Write this process' id to a file, or to that which the setting TOLD names."""
    told = Path(path or os.environ["TOLD"])
    part = Path(f"{told}.part")
    part.write_text(str(os.getpid()))
    part.rename(told)


def write_process_id_and_sleep() -> None:
    write_process_id()
    time.sleep(600)


def sleep_until_interrupted(path: str) -> None:
    """Write this process' id to a file, and sleep; what comes goes into a file beside it."""
    write_process_id(path)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        with open(f"{path}.told", "a") as file:  # noqa: PTH123
            file.write("interrupted\n")
        raise


if __name__ == "__main__":
    with closing(LocalWorker()) as worker:
        worker.call("tests.support.launch_tasks:sleep_until_interrupted", sys.argv[1])
