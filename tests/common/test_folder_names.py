import pytest

from study.common.folder_names import drop_folder_path
from study.common.folder_names import get_folder_path
from study.common.folder_names import is_folder_name
from study.common.folder_names import make_folder_name


@pytest.mark.parametrize(
    ("dataset", "path", "is_folder", "kind"),
    [
        ("folder:/data/cells", "/data/cells", True, "folder"),
        ("folder: ~/my cells ", "~/my cells", True, "folder"),
        ("folder:x:y", "x:y", True, "folder"),
        ("folder: ", "", True, "folder"),
        ("folder", "", False, "folder"),
        ("folders:x", None, False, "folders"),
        ("chest", None, False, "chest"),
        ("", None, False, ""),
    ],
)
def test_folder_is_told_from_other_data_sets_by_its_name(
    dataset: str, path: str | None, is_folder: bool, kind: str
) -> None:
    assert get_folder_path(dataset) == path
    assert is_folder_name(dataset) is is_folder
    assert drop_folder_path(dataset) == kind


def test_folder_name_has_the_path_as_it_is() -> None:
    assert make_folder_name("/data/my cells") == "folder:/data/my cells"
