"""A full disk, and a cache folder that goes away, in real trials."""

import errno
import json
import resource
import shutil
import threading
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.common.errors import StudyError
from study.common.files import atomic_write
from study.common.files import exclusive_lock
from study.common.files import no_space_as_study_error
from study.common.files import open_atomically
from study.training import fit
from tests.support.commands import client_of
from tests.support.commands import history_of
from tests.support.commands import run_here
from tests.support.commands import runs_of
from tests.support.commands import succeed_here
from tests.support.commands import TINY

EPOCHS = 4
FLAGS = (*TINY, "--epochs", str(EPOCHS))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_full_disk_is_a_study_error_that_names_the_file(tmp_path: Path, number: int) -> None:
    (tmp_path / "state.npz").write_text("good")
    (tmp_path / "state.npz.1.part").write_text("begun")
    with (
        pytest.raises(StudyError) as caught,
        no_space_as_study_error("the training state", tmp_path),
    ):
        raise OSError(number, "too much")
    assert str(caught.value) == (
        f"no space to write the training state to {tmp_path} (too much): free some and repeat "
        "the command"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


def test_other_os_errors_are_raised_unchanged(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), no_space_as_study_error("a file", tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_exclusive_lock_held_by_another_process_is_an_error_with_the_given_message(
    tmp_path: Path,
) -> None:
    target = tmp_path / "folder that is made" / "a state"
    with exclusive_lock(target):
        with pytest.raises(StudyError, match=f"at work on {target}: wait"), exclusive_lock(target):
            pass
        with pytest.raises(StudyError, match="busy"), exclusive_lock(target, "busy"):
            pass
    with exclusive_lock(target, wait=True):
        pass


def test_exclusive_lock_that_has_to_wait_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a state"
    entered = threading.Event()

    def wait_for_it() -> None:
        with exclusive_lock(target, "another process is at it", wait=True):
            entered.set()

    said = ""
    with exclusive_lock(target, "another process is at it", wait=True):
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        while not said:
            said = capsys.readouterr().err
        assert not entered.is_set()
    thread.join(60)
    assert entered.is_set()
    assert said + capsys.readouterr().err == "another process is at it\n"


def test_open_atomically_after_an_error_leaves_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "state.npz"
    atomic_write(file, b"old")
    with pytest.raises(TypeError), open_atomically(file) as stream:
        stream.writelines([b"new", "not bytes"])  # type: ignore[list-item]
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


# --- real trials ------------------------------------------------------------------------------


def state_of(cache: Path) -> Path | None:
    """The training state of the only trial, once an epoch is in it."""
    return next((cache / "trials").glob("*/state.npz"), None)


def after_first_checkpoint(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have `act` called once a trial's first training state is on disk."""
    save = fit.save_checkpoint
    saved: list[Path] = []

    def save_and_act(folder: Path, *args: Any) -> None:
        save(folder, *args)
        saved.append(folder)
        if len(saved) == 1:
            act()

    monkeypatch.setattr(fit, "save_checkpoint", save_and_act)


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Sets the largest size of files that this process may write, in bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_ends_the_trial_and_keeps_the_last_checkpoint(
    empty_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file_size_limit: Callable[[int], None],
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    cache = tmp_path / "cache"

    def fill_disk() -> None:
        state = state_of(cache)
        assert state is not None
        limit = state.stat().st_size // 2
        assert limit > 1.2 * empty_database.stat().st_size  # MLflow's file must be free to grow
        file_size_limit(limit)

    after_first_checkpoint(monkeypatch, fill_disk)
    done = run_here("study.train", *FLAGS, cwd=tmp_path, STUDY_CACHE=str(cache))
    state = state_of(cache)
    assert state is not None
    assert done.returncode == 2
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert line.startswith(f"error: no space to write the training state to {state.parent} (")
    assert {path.name for path in state.parent.iterdir()} == {"devices.json", "state.npz"}
    with np.load(state) as saved:
        assert len(json.loads(str(saved["history"]))) == 1
        assert all(saved[name].shape is not None for name in saved.files)
    (failed,) = runs_of(client_of(tmp_path))
    assert failed.info.status == "FAILED"
    assert "no space to write" in failed.data.tags["given_up"]


def test_cache_removed_during_training_does_not_stop_the_trial(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    cache = tmp_path / "cache"
    after_first_checkpoint(monkeypatch, lambda: shutil.rmtree(cache))
    succeed_here("study.train", *FLAGS, cwd=tmp_path, STUDY_CACHE=str(cache))
    client = client_of(tmp_path)
    (run,) = runs_of(client)
    assert (run.info.status, run.data.tags["finished"]) == ("FINISHED", "true")
    assert [step for step, _ in history_of(client, run, "val_loss")] == list(range(1, EPOCHS + 1))
    assert state_of(cache) is None
