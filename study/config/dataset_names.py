"""Read the name of a data set that a user gives, and make the one that is shown."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from study.common.folder_names import get_folder_path
from study.common.folder_names import make_folder_name
from study.common.paths import resolve_path
from study.config.trial_config import RECIPES

MAX_FOLDER_NAME_LENGTH = 100  # characters; MLflow has room for titles of 250
DIGEST_LENGTH = 6  # hex digits of a data digest in the name of a folder


def resolve_dataset(dataset: str) -> str:
    """Return the name of a data set, where a path alone is that of a folder.

    Known names come first: a folder called `demo` is `./demo`.

    Returns:
        The name, in which the path of a `folder:PATH` is absolute.

    Raises:
        StudyError: the path cannot be followed.
    """
    path = get_folder_path(dataset)
    if path:
        return make_folder_name(resolve_path(path))
    if path is None and dataset not in RECIPES and _is_path(dataset):
        return make_folder_name(resolve_path(dataset))
    return dataset


def _is_path(text: str) -> bool:
    """Return whether a text has a path separator or names an existing folder."""
    if any(separator in text for separator in (os.sep, os.altsep) if separator):
        return True
    try:
        return bool(text) and Path(text).is_dir()
    except OSError:  # too long for a name
        return False


def data_name(dataset: str, digest: str) -> str:
    """Return a data set's public name: `blood`, or `cells-3f2a9c` for a `folder:PATH`.

    The name of a folder has letters, digits, `_` and `-` only. It ends with the first digits of
    the digest, so that two folders called `images` have two names. Without a digest, as in the
    oldest runs, it is that of the folder alone.

    Args:
        dataset: `blood`, or `folder:PATH`.
        digest: the digest of the data; `""` if it is not known.
    """
    path = get_folder_path(dataset)
    if path is None:
        return dataset
    folder_name = re.sub(r"[^\w-]+", "-", resolve_path(path).name).strip("-") or "folder"
    parts = [folder_name[:MAX_FOLDER_NAME_LENGTH], digest[:DIGEST_LENGTH]]
    return "-".join(part for part in parts if part)


def read_name_digest(tags: Mapping[str, str]) -> str:
    """Return the digest that ends a folder's name, from the tags of a run.

    It is that of the images without groups. Older runs have only the one that their split needed.
    """
    return tags.get("images_digest") or tags.get("data_digest", "")
