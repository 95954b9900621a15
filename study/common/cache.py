"""The cache folder: where it is, how its files are written, and how it is emptied."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from study.common.errors import DataError

# The folders that clear_cache removes. Lock files stay. JAX keeps its compiled programs in
# `compiled`.
CLEARABLE_FOLDERS = ("images", "index", "demo", "audit", "compiled")


def cache_dir() -> Path:
    """Return the cache folder, which may not exist yet.

    It is `STUDY_CACHE` if that is set, else the user's cache folder of this system.
    """
    setting = os.environ.get("STUDY_CACHE", "").strip()
    return Path(setting or _find_user_cache()).expanduser().absolute()


def _find_user_cache() -> str:
    try:
        import platformdirs
    except ImportError:  # on a machine that has only what training needs
        raise DataError("platformdirs is not installed: set STUDY_CACHE to a folder") from None
    return platformdirs.user_cache_dir("finetune-study")


def clear_cache() -> int:
    """Remove everything from the cache folder that can be made again.

    That is decoded images, the index, drawn demo images, the audits' work and compiled programs.

    Returns:
        Bytes freed.

    Raises:
        DataError: something in the cache folder cannot be removed.
    """
    freed = 0
    for folder in (cache_dir() / name for name in CLEARABLE_FOLDERS):
        if folder.is_dir():
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise DataError(f"cannot clear the cache: {error}") from None
    return freed


@contextlib.contextmanager
def cache_lock(name: str) -> Iterator[None]:
    """Hold the cache's lock `name` against all other processes of this machine.

    Raises:
        DataError: the cache folder cannot be written, either now or within the block.
    """
    try:
        locks = cache_dir() / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{name}.lock"):
            yield
    except OSError as error:
        raise DataError(
            f"cannot write to the cache folder {cache_dir()} ({error.strerror or error}): make "
            "space or permission, set STUDY_CACHE to another folder, or train with --no-cache"
        ) from None


def atomic_write(file: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new, never a part.

    Raises:
        OSError: the folder cannot be made or written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
