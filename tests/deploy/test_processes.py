"""Servers as child processes: real ones, which end by themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.errors import StackError
from deploy.processes import run_process
from deploy.processes import wait_for_answer
from tests.support.commands import restore_ctrl_c
from tests.support.commands import ROOT
from tests.support.commands import wait_until


def refuse() -> None:
    raise ConnectionRefusedError


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('starting', end='\\n\\n'); exit('no room\\n')", "the last line of {} is:\nno room"),
        ("print('x' * 10**6); exit('no room')", "the last line of {} is:\nno room"),
        ("exit(3)", "it wrote nothing to {}"),
    ],
)
def test_server_that_ends_by_itself_is_quoted(tmp_path: Path, program: str, words: str) -> None:
    log = tmp_path / "server.log"
    log.write_text("a line of an earlier start\n")
    with (
        run_process("The server", [sys.executable, "-u", "-c", program], log) as check_alive,
        pytest.raises(StackError, match=r"^The server ended with code [13]; ") as caught,
    ):
        wait_for_answer("The server", refuse, check_alive)
    assert str(caught.value).endswith(words.format(log))


# A server that leaves a process behind when it ends
SERVER = """
import subprocess, time
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""
STARTER = """
import sys, time
from pathlib import Path
from deploy.processes import run_process
with run_process("The server", [sys.executable, "-c", sys.argv[1]], Path(sys.argv[2])):
    time.sleep(600)
"""


def test_server_is_ended_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.touch()
    command = [sys.executable, "-c", STARTER, SERVER, str(log)]
    starter = subprocess.Popen(command, cwd=ROOT, preexec_fn=restore_ctrl_c)
    try:
        wait_until(lambda: log.read_text().endswith("\n"))
    finally:
        starter.kill()
        starter.wait()
    left_behind = int(log.read_text().splitlines()[0])  # the server may have written more since
    wait_until(lambda: not is_running(left_behind), seconds=60)
    assert "KeyboardInterrupt" in log.read_text(), "the server itself got the time to end"


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie, which a container's first process may not reap."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return not state.stdout.startswith("Z")
