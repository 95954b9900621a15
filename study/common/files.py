"""Lock and write files, and report a full disk in one line."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from uuid import uuid4

import filelock

from study.common.errors import StudyError

# In this order: the disk is full, the user's quota is used up, the file is too large.
NO_SPACE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def no_space_as_study_error(what: str, folder: Path) -> Iterator[None]:
    """Turn a lack of disk space within the block into an error that names `what`.

    Unfinished files (`*.part`) are removed from `folder` then.

    Raises:
        StudyError: there is no space.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE_ERRNOS:
            raise
        for unfinished in filter(Path.is_file, folder.glob("*.part")):
            unfinished.unlink(missing_ok=True)
        raise StudyError(
            f"no space to write {what} to {folder} ({error.strerror}): "
            "free some and repeat the command"
        ) from None


@contextlib.contextmanager
def exclusive_lock(
    target: Path, message: str | None = None, *, wait: bool = False
) -> Iterator[None]:
    """Lock a file or folder against other processes.

    Args:
        target: what is locked, by the file beside it that ends in `.lock`.
        message: of the error if another process holds the lock, or None for a general one. With
            `wait`, it is printed before the waiting begins, and None prints nothing.
        wait: for a process that holds the lock now.

    Raises:
        StudyError: another process holds the lock, and `wait` is false.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(f"{target}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if not wait:
            message = message or f"another process is at work on {target}: wait for it to end"
            raise StudyError(message) from None
        if message is not None:
            _announce(message)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _announce(message: str) -> None:
    from study.common.progress import Progress  # imported late: commands start faster without

    Progress().say(message)


@contextlib.contextmanager
def open_atomically(file: Path) -> Iterator[IO[bytes]]:
    """Open a file whose content is replaced when the block has succeeded.

    A reader sees the old content or the new, never a part. The folder must exist. It does not wait
    for the disk, which would make each epoch longer: after a power cut, the file may be cut off.
    """
    # Containers that share a folder often have the same process ids
    unfinished = file.with_name(f"{file.name}.{os.getpid()}-{uuid4().hex[:8]}.part")
    try:
        with unfinished.open("wb") as stream:
            yield stream
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def atomic_write(file: Path, content: bytes) -> None:
    """Write a file, and its folder if need be, as `open_atomically` does.

    Raises:
        OSError: the folder cannot be made or written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with open_atomically(file) as stream:
        stream.write(content)


def sync_to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
