"""Find artifacts that were moved or copied together with their SQLite database.

MLflow keeps absolute paths of the files of runs. After a project's folder is moved or copied, its
database still names the old place. MLflow misses the files there, and would write new ones there.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mlflow.utils.file_utils import get_local_path_or_none

from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.settings import get_sqlite_file

FOLDER = "mlruns"  # where MLflow keeps the files of runs, in the project's folder
# Each column that has such paths
PATH_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def check_artifact_paths(uri: str) -> None:
    """Raise an error if a tracking database was moved or copied with its artifacts.

    Raises:
        StudyError: it was.
        TrackingError: the database cannot be read.
    """
    if old_folders := find_old_folders(uri):
        raise StudyError(
            f"this project was moved or copied: MLflow looks for its files in {old_folders[0]}\n"
            "Have it look here with: python -m study.sync --moved"
        )


def find_old_folders(uri: str) -> list[str]:
    """Return the folders where MLflow misses files that are beside the database.

    The folders are spelled as in the database. The list is empty for anything but an SQLite file.

    Raises:
        TrackingError: the database cannot be read.
    """
    database = _get_database_path(uri)
    if database is None or not (database.parent / FOLDER).is_dir():
        return []
    with _open_database(database) as connection:
        return list(dict.fromkeys(_list_old_folders(connection, database.parent / FOLDER)))


def _list_old_folders(connection: sqlite3.Connection, here: Path) -> Iterator[str]:
    query = "SELECT experiment_id, artifact_location FROM experiments"
    for experiment, location in connection.execute(query).fetchall():
        folder = location.removesuffix(f"/{experiment}")
        path = get_local_path_or_none(folder)
        if folder == location or path is None or _is_same_folder(Path(path), here):
            continue  # named by the user, on a server, or here
        runs = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", [experiment])
        # A run's folder here shows that the files came along, even if the old ones are still there
        was_removed = not Path(path).parent.exists()
        if any(was_removed or (here / str(experiment) / run).is_dir() for (run,) in runs):
            yield folder


def _is_same_folder(folder: Path, other: Path) -> bool:
    return folder.exists() and folder.samefile(other)


def point_to_moved_artifacts(uri: str) -> str:
    """Have MLflow look for the files of moved runs beside their database.

    Returns:
        A sentence on what was done.

    Raises:
        TrackingError: the database cannot be read or written.
    """
    old_folders = find_old_folders(uri)
    database = _get_database_path(uri)
    if not old_folders or database is None:
        return "nothing to do: no run's files were moved or copied with mlflow.db"
    here = database.parent / FOLDER
    new_folder = str(here).replace("%", "%25")  # MLflow reads a path as the path of a URI
    with _open_database(database) as connection:
        for old_folder in old_folders:
            for table, column in PATH_COLUMNS:
                connection.execute(
                    f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                    f"WHERE substr({column}, 1, length(:old) + 1) = :old || '/'",
                    {"old": old_folder, "new": new_folder},
                )
    return f"MLflow looks for the files in {here} now, no longer in {', '.join(old_folders)}"


def _get_database_path(uri: str) -> Path | None:
    """Return the absolute path of the SQLite file at `uri`, or None if there is none."""
    file = get_sqlite_file(uri)
    return file if file is not None and file.is_file() else None


@contextlib.contextmanager
def _open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an SQLite file for one transaction, which other processes may delay."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection, connection:
            yield connection
    except sqlite3.Error as error:
        raise TrackingError(f"cannot use {path}: {error}") from error
