"""The names of data sets."""

import pytest

from study.config.dataset_names import data_name

DIGEST = "3f2a9c" + "0" * 58


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("blood", "blood"),
        ("folder:/data/chest", "chest-3f2a9c"),
        ("folder:/data/my cells", "my-cells-3f2a9c"),
        ("folder:/data/v1.2/", "v1-2-3f2a9c"),
        ("folder:x:y", "x-y-3f2a9c"),
        ("folder:/", "folder-3f2a9c"),
    ],
)
def test_data_sets_are_named_after_their_folder_and_content(dataset: str, name: str) -> None:
    assert data_name(dataset, DIGEST) == name


def test_data_set_without_a_digest_has_the_folders_name() -> None:
    assert data_name("folder:/data/cells", "") == "cells"
