"""The cache folder: where it is, how it is locked, and how it is emptied."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from filelock import Timeout

from study.common.errors import DataError
from study.common.files import exclusive_lock
from study.common.files import NO_SPACE_ERRNOS
from study.common.settings import read_folder

# The folders that clear_cache removes. Lock files stay. JAX keeps its compiled programs in
# `compiled`.
CLEARABLE_FOLDERS = ("images", "index", "demo", "audit", "compiled")


def cache_dir() -> Path:
    """Return the cache folder, which may not exist yet.

    It is `STUDY_CACHE` if that is set, else the user's cache folder of this system.

    Raises:
        ConfigError: `STUDY_CACHE` begins with the `~` of a user who does not exist.
        DataError: `STUDY_CACHE` is not set, and platformdirs is not installed.
    """
    return (read_folder("STUDY_CACHE") or Path(_find_user_cache())).absolute()


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
def cache_errors_as_data_errors() -> Iterator[None]:
    """Turn a failure to write to the cache folder into an error of one line.

    Raises:
        DataError: the cache folder cannot be written.
    """
    try:
        yield
    except Timeout:  # an OSError, but of a lock that another process holds
        raise
    except OSError as error:
        if error.errno in NO_SPACE_ERRNOS:
            advice = "free some space, set STUDY_CACHE to a larger disk, or train with --no-cache"
        else:
            advice = "set STUDY_CACHE to a folder that can be written"
        raise DataError(
            f"cannot write to the cache folder {cache_dir()} ({error.strerror or error}): {advice}"
        ) from None


@contextlib.contextmanager
def exclusive_cache_lock(
    target: Path, message: str | None = None, *, wait: bool = False
) -> Iterator[None]:
    """Lock a file or folder in the cache folder, as `exclusive_lock` does.

    Unlike with `cache_lock`, errors of the block stay as they are: it does more than write there.

    Raises:
        DataError: the cache folder cannot be written.
        StudyError: another process holds the lock, and `wait` is false.
    """
    with contextlib.ExitStack() as stack:
        with cache_errors_as_data_errors():
            stack.enter_context(exclusive_lock(target, message, wait=wait))
        yield


@contextlib.contextmanager
def cache_lock(name: str) -> Iterator[None]:
    """Hold the cache's lock `name` against all other processes of this machine.

    Raises:
        DataError: the cache folder cannot be written, either now or within the block.
    """
    with cache_errors_as_data_errors():
        locks = cache_dir() / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{name}.lock"):
            yield
