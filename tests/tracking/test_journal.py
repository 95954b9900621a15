"""A record outlives its process at any moment."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from study.common.errors import StudyError
from study.tracking import operations
from study.tracking.journal import is_finished
from study.tracking.journal import Journal
from study.tracking.journal import OPERATIONS
from study.tracking.operations import Operation


def test_appended_operations_are_there_in_order_with_its_files(tmp_path: Path) -> None:
    record, files = Journal(tmp_path / "record"), tmp_path / "files"
    assert record.operations == []
    files.mkdir()
    (files / "a.txt").write_text("a")
    record.append(operations.tags({"name": "value"}))
    record.append(Operation("files", folder=files))
    first, second = record.operations
    assert first == operations.tags({"name": "value"})
    assert second == Operation("files", folder=record.folder / "0001")
    assert (record.folder / "0001" / "a.txt").read_text() == "a"
    assert not is_finished(record)
    record.append(Operation("end", {"status": "FINISHED", "time": 1}))
    assert is_finished(record)


def test_line_cut_off_by_a_kill_was_never_appended(tmp_path: Path) -> None:
    record, files = Journal(tmp_path / "record"), tmp_path / "files"
    record.append(operations.tags({"number": "1"}))
    with (record.folder / OPERATIONS).open("ab") as file:
        file.write(b'{"kind": "files", "fol')
    (record.folder / "0001").mkdir()
    (record.folder / "0001" / "half.txt").touch()
    assert record.operations == [operations.tags({"number": "1"})]
    files.mkdir()
    record.append(Operation("files", folder=files))
    assert [each.kind for each in record.operations] == ["batch", "files"]
    assert list((record.folder / "0001").iterdir()) == []


@pytest.mark.parametrize("length", [0, 1, 20, -1])
def test_append_after_a_kill_within_a_line_keeps_all_whole_lines(
    tmp_path: Path, length: int
) -> None:
    for number in "12":
        Journal(tmp_path / "killed").append(operations.tags({"number": number}))
    file = tmp_path / "killed" / OPERATIONS
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + second[:length])
    record = Journal(tmp_path / "killed")
    record.append(operations.tags({"number": "3"}))
    record.append(operations.tags({"number": "4"}))
    assert record.operations == [operations.tags({"number": number}) for number in "134"]


def test_two_processes_that_append_in_turn_lose_no_line(tmp_path: Path) -> None:
    one, other = Journal(tmp_path / "record"), Journal(tmp_path / "record")
    for number in range(6):
        (one, other)[number % 2].append(operations.tags({"number": str(number)}))
    assert one.operations == [operations.tags({"number": str(number)}) for number in range(6)]


def test_append_to_a_whole_file_does_not_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Journal(tmp_path / "record")
    record.append(operations.tags({"number": "1"}))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
        record.append(operations.tags({"number": "2"}))
    assert record.operations == [operations.tags({"number": number}) for number in "12"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of what was written to the disk so far, in order."""
    inodes: list[int] = []
    sync = os.fsync

    def note_and_sync(descriptor: int) -> None:
        inodes.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note_and_sync)
    return inodes


def test_operation_with_files_is_on_the_disk_before_its_line(
    tmp_path: Path, synced: list[int]
) -> None:
    record, files = Journal(tmp_path / "record"), tmp_path / "files"
    (files / "part").mkdir(parents=True)
    (files / "part" / "a.txt").write_text("a")
    record.append(operations.tags({"number": "1"}))
    lines = (record.folder / OPERATIONS).stat().st_ino
    assert synced == [lines, record.folder.stat().st_ino, tmp_path.stat().st_ino]
    synced.clear()
    record.append(Operation("files", folder=files))
    copy = record.folder / "0001"
    before = [path.stat().st_ino for path in (copy / "part", copy / "part/a.txt", copy)]
    assert synced == [*before, record.folder.stat().st_ino, lines]


def write_line(record: Journal, **entry: Any) -> None:
    record.folder.mkdir(exist_ok=True)
    line = {"kind": "files", "body": {}, "files": None} | entry
    (record.folder / OPERATIONS).write_text(json.dumps(line) + "\n")


@pytest.mark.parametrize("name", ["/etc", "../secret", "..", ".", "", "0001/../../secret", 1234])
def test_record_that_names_files_of_another_place_is_refused(
    tmp_path: Path, name: str | int
) -> None:
    (tmp_path / "secret").mkdir()
    record = Journal(tmp_path / "record")
    write_line(record, files=name)
    with pytest.raises(StudyError, match=re.escape(f"names files outside of it, by {name!r}")):
        _ = record.operations


@pytest.mark.parametrize("link", ["0000", "0000/key", "0000/part/key"])
def test_record_with_a_link_among_its_files_is_refused(tmp_path: Path, link: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    record = Journal(tmp_path / "record")
    write_line(record, files="0000")
    path = record.folder / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(secret)
    with pytest.raises(StudyError, match="names files outside of it, by '0000'"):
        _ = record.operations


@pytest.mark.parametrize("line", ["[]", "{}", "not JSON", '{"kind": [], "body": 1, "files": null}'])
def test_record_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / OPERATIONS).write_text(line + "\n")
    with pytest.raises(StudyError, match=f"^{tmp_path / OPERATIONS} is damaged: "):
        _ = Journal(tmp_path).operations


def test_record_with_an_unknown_kind_of_operation_is_named(tmp_path: Path) -> None:
    record = Journal(tmp_path / "record")
    write_line(record, kind="trace")
    message = f"^the record {record.folder} has an operation of an unknown kind, 'trace': deliver"
    with pytest.raises(StudyError, match=message):
        _ = record.operations
