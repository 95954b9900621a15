"""Keep a run's operations in a folder, to be delivered to MLflow later.

This module knows nothing of MLflow. `operations.jsonl` holds one operation per line. The files of
an operation are in a folder named by the operation's number. Each operation is there completely or
not at all, and on the disk, so a record survives the end of its process at any moment, and a power
cut.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

from study.common.errors import StudyError
from study.common.files import sync_to_disk
from study.tracking.operations import KINDS
from study.tracking.operations import Operation

OPERATIONS = "operations.jsonl"
NEWLINE = b"\n"


@dataclass(frozen=True)
class Journal:
    """Operations of one run in a folder, which the first operation creates."""

    folder: Path

    @property
    def run_id(self) -> str:
        """Return the folder's name, for messages: MLflow has given no id yet."""
        return self.folder.name

    @property
    def operations(self) -> list[Operation]:
        """Return all operations in the order in which they were appended.

        Raises:
            StudyError: this code would not have written them so.
        """
        return [self._parse_line(line) for line in self._read_complete_lines().splitlines()]

    def append(self, operation: Operation) -> None:
        """Append an operation, with a copy of its files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        complete_length = self._measure_complete_lines()
        name = None
        if operation.folder is not None:
            name = f"{self._read_complete_lines().count(NEWLINE):04}"
            # An earlier `append` that was cut off may have left this folder.
            shutil.rmtree(self.folder / name, ignore_errors=True)
            shutil.copytree(operation.folder, self.folder / name)
            for path in (*(self.folder / name).rglob("*"), self.folder / name, self.folder):
                sync_to_disk(path)
        line = json.dumps({"kind": operation.kind, "body": operation.body, "files": name})
        with (self.folder / OPERATIONS).open("ab") as file:
            # Cuts off a line that was written in part.
            file.truncate(complete_length)
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        if complete_length == 0:  # the file is new, and the folder may be
            sync_to_disk(self.folder)
            sync_to_disk(self.folder.parent)

    def check(self) -> None:
        """Do nothing, because a record refuses no operation.

        A record has this method so that it can take the place of an `Outbox`.
        """

    def _parse_line(self, line: bytes) -> Operation:
        """Return the operation in a line, which may come from another machine.

        Raises:
            StudyError: it cannot be read, is of an unknown kind, or its files are not the record's.
        """
        try:
            entry = json.loads(line)
            operation = Operation(entry["kind"], dict(entry["body"]))
            name = entry["files"]
        except (ValueError, TypeError, LookupError):
            raise StudyError(
                f"{self.folder / OPERATIONS} is damaged: copy the record again, or remove it"
            ) from None
        if operation.kind not in KINDS:
            raise StudyError(
                f"the record {self.folder} has an operation of an unknown kind, "
                f"{operation.kind!r}: deliver it with the version of the code that wrote it"
            )
        if name is None:
            return operation
        is_own = isinstance(name, str) and re.fullmatch(r"[0-9]{4,}", name)
        if not is_own or _has_links(self.folder / name):
            raise StudyError(
                f"the record {self.folder} names files outside of it, by {name!r}: remove it, "
                "unless you know who wrote it"
            )
        return replace(operation, folder=self.folder / name)

    def _measure_complete_lines(self) -> int:
        """Return how many bytes the lines take that were written to their ends.

        All of the file is read only if its last line was cut off. Else the time of an append would
        grow with the epochs.
        """
        try:
            with (self.folder / OPERATIONS).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                if file.read() == NEWLINE:
                    return size
        except FileNotFoundError:
            return 0
        return len(self._read_complete_lines())

    def _read_complete_lines(self) -> bytes:
        """Return the lines that were written to their ends."""
        try:
            content = (self.folder / OPERATIONS).read_bytes()
        except FileNotFoundError:
            return b""
        return content[: content.rfind(NEWLINE) + 1]


def _has_links(folder: Path) -> bool:
    """Return True if a folder, or anything in it, is a link to another place."""
    return folder.is_symlink() or any(path.is_symlink() for path in folder.rglob("*"))


def is_finished(record: Journal) -> bool:
    """Return True if a record is complete."""
    operations = record.operations
    return bool(operations) and operations[-1].kind == "end"
