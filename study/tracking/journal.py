"""A run's operations in a folder, for MLflow to have later. Knows nothing of MLflow.

`operations.jsonl` holds one operation a line, and folders named by their numbers the files that
belong to them. Each is there whole or not at all, so a record outlives its process at any moment.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from study.common.errors import StudyError
from study.tracking.operations import Operation

OPERATIONS = "operations.jsonl"
NEWLINE = b"\n"


@dataclass(frozen=True)
class Record:
    """The operations in a folder, which is made by the first."""

    folder: Path

    @property
    def run_id(self) -> str:
        """A name for messages: MLflow has given none yet."""
        return self.folder.name

    @property
    def operations(self) -> list[Operation]:
        """All that were put, in their order."""
        found = [json.loads(line) for line in self._whole().splitlines()]
        return [
            Operation(
                one["kind"], one["body"], self.folder / one["files"] if one["files"] else None
            )
            for one in found
        ]

    def put(self, operation: Operation) -> None:
        """Append an operation, with a copy of its files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = self._whole()
        name = None
        if operation.folder is not None:
            name = f"{whole.count(NEWLINE):04}"
            shutil.rmtree(self.folder / name, ignore_errors=True)  # of a put that was cut off
            shutil.copytree(operation.folder, self.folder / name)
        line = json.dumps({"kind": operation.kind, "body": operation.body, "files": name})
        with (self.folder / OPERATIONS).open("ab") as file:
            file.truncate(len(whole))
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def check(self) -> None:
        """As of an outbox: nobody refuses anything here."""

    def _whole(self) -> bytes:
        """The lines that were written to their ends."""
        try:
            content = (self.folder / OPERATIONS).read_bytes()
        except FileNotFoundError:
            return b""
        return content[: content.rfind(NEWLINE) + 1]


def is_finished(record: Record) -> bool:
    """Whether a record is complete."""
    operations = record.operations
    return bool(operations) and operations[-1].kind == "end"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a record's folder against other processes.

    Raises:
        StudyError: another process has it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(f"{folder}.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise StudyError(f"another process is at work on {folder}: wait for it to end") from None
    try:
        yield
    finally:
        lock.release()
