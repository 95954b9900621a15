"""Run a server as a child process while a block runs."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.errors import StackError

PATIENCE = 300  # seconds that a server has to answer, even on a busy machine
MAX_QUOTED_BYTES = 10_000  # of a log's end

CheckAlive = Callable[[], None]  # raises StackError if its server has ended

# Ends the process $0 and its group once the other end of its standard input is closed
GUARD = 'read -r _; kill -s INT "$0"; sleep 10; kill -s KILL -- "-$0"'


@contextlib.contextmanager
def run_process(name: str, command: list[str], log: Path, **options: Any) -> Iterator[CheckAlive]:
    """Run a server while the block runs, and yield a check that it has not ended.

    If this process is killed, a guard ends the server.

    Args:
        name: what messages call it.
        command: the program and its flags.
        log: file to which its output is appended.
        options: further ones of `subprocess.Popen`.
    """
    with log.open("ab") as out:
        start = out.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0, **options
        )

    def check_alive() -> None:
        if process.poll() is not None:
            code = process.returncode
            raise StackError(f"{name} ended with code {code}; {_quote_last_line(log, start)}")

    guard = _start_guard(process)
    try:
        yield check_alive
    finally:
        _end_process(process)
        guard.kill()  # not reached if this process is ended meanwhile: then the guard goes on
        guard.communicate()


def _quote_last_line(log: Path, start: int) -> str:
    """Quote the last line that a log holds from byte `start` on."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - MAX_QUOTED_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    last_line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"the last line of {log} is:\n{last_line}" if last_line else f"it wrote nothing to {log}"


def _start_guard(process: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
    """Start a guard, which ends a process and its group if this process ends first."""
    return subprocess.Popen(
        ["sh", "-c", GUARD, str(process.pid)],
        stdin=subprocess.PIPE,  # closed by the system when this process ends, even if it is killed
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that the terminal's signals do not reach it
    )


def _end_process(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    # Its process group also holds the processes that it has left behind
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for_answer(name: str, ask: Callable[[], object], check_alive: CheckAlive) -> None:
    """Call `ask` until it raises nothing, which means that the server `name` answers.

    Raises:
        StackError: the server has ended, or does not answer within `PATIENCE`.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        check_alive()
        try:
            ask()
            return
        except (OSError, StackError) as error:
            if time.monotonic() > deadline:
                raise StackError(f"{name} does not answer in {PATIENCE} s: {error}") from None
        time.sleep(0.1)
