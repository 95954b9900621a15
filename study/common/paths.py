"""Resolve a user's path, and find out what the study would write into a folder."""

from pathlib import Path

from study.common.cache import cache_dir
from study.common.errors import StudyError
from study.common.settings import get_sqlite_file
from study.common.settings import storage_url
from study.common.settings import tracking_uri


def resolve_path(text: str) -> Path:
    """Return the absolute path that a user means, without `~` and links.

    Raises:
        StudyError: a link leads back to itself, or there is no such user.
    """
    try:
        return Path(text).expanduser().resolve()
    except (RuntimeError, OSError) as error:
        raise StudyError(f"cannot follow the path {text!r} ({error}): check it") from None


def list_writes_inside(folder: Path) -> list[str]:
    """Return what a command would write into a folder or its subfolders, as paths.

    These are the databases and the cache, and what goes into the working directory by default.

    Args:
        folder: a resolved path.
    """
    paths = [Path("mlruns").absolute(), Path("exports").absolute(), cache_dir()]
    for url in (tracking_uri(), storage_url()):
        if (file := get_sqlite_file(url)) is not None:
            paths.append(file)
    return sorted({str(path) for path in paths if folder in path.resolve().parents})


def check_outside(out: Path, folder: str) -> None:
    """Check that a folder to write to does not lie in that of a data set.

    Args:
        out: the folder to write to.
        folder: path of the data set; "" if it is none of the user's.

    Raises:
        StudyError: it lies there.
    """
    if folder and resolve_path(folder) in resolve_path(str(out)).parents:
        raise StudyError(
            f"{out} lies in {folder}, where each folder is a class: choose another with --out"
        )
