"""A record outlives its process at any moment."""

from pathlib import Path

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
