"""What worker processes run in tests; run as a module, it is a parent that can be killed."""

import os
import signal
import sys
import time

from study.config import StudyError
from study.launch import Worker


def double(number: int) -> tuple[int, int]:
    """The double, and the process that worked it out."""
    return 2 * number, os.getpid()


def refuse(reason: str) -> None:
    raise StudyError(reason)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_and_tell(path: str) -> None:
    """Write this process' id to a file, and sleep."""
    with open(f"{path}.part", "w") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    os.rename(f"{path}.part", path)  # noqa: PTH104
    time.sleep(600)


if __name__ == "__main__":
    with Worker() as worker:
        worker.call("tests.launch_tasks:sleep_and_tell", sys.argv[1])
