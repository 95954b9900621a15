"""Servers as child processes: real ones, which end by themselves."""

import sys
from pathlib import Path

import pytest

from deploy.errors import StackError
from deploy.processes import run_process
from deploy.processes import wait_for_answer


def refuse() -> None:
    raise ConnectionRefusedError


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('starting', end='\\n\\n'); exit('no room\\n')", "the last line of {} is:\nno room"),
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
