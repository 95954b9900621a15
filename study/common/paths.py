"""Resolve a user's path, and find out what the study would write into a folder."""

from pathlib import Path

from study.common.cache import cache_dir
from study.common.errors import StudyError
from study.common.folder_names import FOLDER_PREFIX
from study.common.folder_names import get_folder_path
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


def resolve_folder(dataset: str) -> Path:
    """Return the absolute path of the folder that `folder:PATH` names.

    Raises:
        StudyError: the path cannot be followed.
    """
    return resolve_path(dataset.removeprefix(FOLDER_PREFIX).strip())


def parse_path(text: str) -> Path:
    """Return the path that a flag names, with `~` expanded.

    A shell leaves the `~` of `--out=~/here` as it is.

    Raises:
        StudyError: there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
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


def check_outside(out: Path | None, dataset: str) -> None:
    """Check that a folder to write to is not within the user's data set.

    Args:
        out: the folder to write to, or None if the user names none.
        dataset: its name. Only a `folder:PATH` is a folder of the user's.

    Raises:
        StudyError: the folder is within the data set.
    """
    folder = get_folder_path(dataset)
    if out is None or not folder:
        return
    if is_within(out, Path(folder)):
        raise StudyError(
            f"{out} is within the data set {folder}, where each folder is a class: "
            "choose another with --out"
        )


def is_within(path: Path, folder: Path) -> bool:
    """Return whether a path is that of a folder, or of something in it.

    Raises:
        StudyError: one of them cannot be followed.
    """
    resolved_path = resolve_path(str(path))
    return resolve_path(str(folder)) in (resolved_path, *resolved_path.parents)
