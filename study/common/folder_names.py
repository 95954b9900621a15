"""The names of data sets that are a user's folders, as `folder:PATH`."""

import os

FOLDER_PREFIX = "folder:"


def make_folder_name(path: str | os.PathLike[str]) -> str:
    """Return the name of the data set in a folder."""
    return f"{FOLDER_PREFIX}{os.fspath(path)}"


def is_folder_name(dataset: str) -> bool:
    """Return whether a data set's name is a `folder:PATH`, of which PATH may be empty."""
    return dataset.startswith(FOLDER_PREFIX)


def get_folder_path(dataset: str) -> str | None:
    """Return the path in the name of a folder, without blanks around it.

    Returns:
        `""` if the name has no path, as `folder:` and `folder` alone, which users type, too. None
        for the name of another data set.
    """
    kind, _, path = dataset.partition(":")
    return path.strip() if f"{kind}:" == FOLDER_PREFIX else None


def drop_folder_path(dataset: str) -> str:
    """Return `folder` for any `folder:PATH`, and the names of other data sets as they are."""
    return dataset.partition(":")[0]
