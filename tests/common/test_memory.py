"""Memory that is freed and allocated again, as TensorFlow does in every step."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from study.workers.local import LocalWorker
from tests.support.commands import ROOT

PAGES = 16_384  # in 64 MiB
ROUNDS = 20
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/maps").exists() or "libc.so.6" not in Path("/proc/self/maps").read_text(),
    reason="only glibc's malloc can be told to keep memory",
)


def count_page_faults() -> int:
    """Write to 64 MiB again and again, and return how many pages were new."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        assert (b"x" * (64 * 2**20)).endswith(b"x")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def run_alone(call: str) -> int:
    """Count the page faults of a new process that first makes a call."""
    code = f"from tests.common.test_memory import *\nfrom study.common.memory import *\n{call}\n"
    command = [sys.executable, "-c", f"{code}print(count_page_faults())"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_kept_memory_is_written_without_new_pages() -> None:
    assert run_alone("pass") > 0.9 * ROUNDS * PAGES
    assert run_alone("keep_freed_memory()") < 2 * PAGES


def test_worker_keeps_its_memory() -> None:
    worker = LocalWorker()
    try:
        assert worker.call(f"{__name__}:count_page_faults") < 2 * PAGES
    finally:
        worker.close()
