"""groups.csv as an audit writes it, and as it is read again."""

from pathlib import Path

import pytest

from study.common.errors import DataError
from study.data.audit.findings import name_groups
from study.data.folder import find_images
from study.data.groups_file import format_groups_csv
from study.data.listing import FoundBy
from tests.support.images import class_folders

GROUPS = {"a/000.png": "x", "a/001.png": "y", "b/000.png": "x", "b/001.png": "z"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return class_folders(tmp_path, {"a": 2, "b": 2})


@pytest.mark.parametrize(
    ("found_by", "source"),
    [
        ("", "groups.csv"),
        ("near-duplicates", "groups.csv, written by an audit, by near-duplicates"),
        ("file names", "groups.csv, written by an audit, from file names"),
    ],
)
def test_groups_file_says_what_its_groups_were_found_by(
    root: Path, found_by: FoundBy, source: str
) -> None:
    (root / "groups.csv").write_text(format_groups_csv(GROUPS, found_by))
    listing = find_images(str(root))
    assert listing.groups == GROUPS
    assert (listing.groups_found_by, listing.groups_from) == (found_by, source)


def test_groups_file_of_the_first_audits_is_known_by_its_names(root: Path) -> None:
    groups = {image: f"near-{number}" for number, image in enumerate(GROUPS)}
    (root / "groups.csv").write_text(format_groups_csv(groups, ""))
    assert find_images(str(root)).groups_found_by == "near-duplicates"
    (root / "groups.csv").write_text(format_groups_csv({**groups, "a/000.png": "Ann"}, ""))
    assert find_images(str(root)).groups_found_by == ""


@pytest.mark.parametrize("is_removed", [True, False])
def test_groups_file_of_an_audit_without_its_column_is_the_users(
    root: Path, is_removed: bool
) -> None:
    groups = name_groups(GROUPS, [("a/000.png", "b/000.png")])
    text = format_groups_csv(groups, "near-duplicates")
    (root / "groups.csv").write_text(text)
    assert find_images(str(root)).groups_found_by == "near-duplicates"
    text = text.replace(',"audit, by near-duplicates"', "" if is_removed else ',""')
    (root / "groups.csv").write_text(text.replace(',"found_by"', "") if is_removed else text)
    listing = find_images(str(root))
    assert (listing.groups_found_by, listing.groups_from) == ("", "groups.csv")
    assert listing.groups == groups


def test_groups_file_of_an_earlier_audit_with_an_empty_column_is_the_users(root: Path) -> None:
    names = dict(zip(GROUPS, ("near-1", "near-1", "single-000003", "single-000004"), strict=True))
    text = format_groups_csv(names, "near-duplicates")
    (root / "groups.csv").write_text(text)
    assert find_images(str(root)).groups_found_by == "near-duplicates"
    (root / "groups.csv").write_text(text.replace("audit, by near-duplicates", ""))
    assert find_images(str(root)).groups_found_by == ""


def test_groups_file_with_some_rows_of_an_audit_is_an_audits(root: Path) -> None:
    text = format_groups_csv(GROUPS, "near-duplicates")
    first, second, rest = text.split("\n", 2)
    by_hand = second.replace('"audit, by near-duplicates"', "")
    (root / "groups.csv").write_text("\n".join([first, by_hand, rest]))
    assert find_images(str(root)).groups_found_by == "near-duplicates"


@pytest.mark.parametrize(("found_by", "is_told"), [("near-duplicates", True), ("", False)])
def test_new_image_beside_the_groups_of_an_audit_asks_for_another_audit(
    root: Path, found_by: FoundBy, is_told: bool
) -> None:
    groups = {image: group for image, group in GROUPS.items() if image != "b/001.png"}
    (root / "groups.csv").write_text(format_groups_csv(groups, found_by))
    with pytest.raises(DataError, match="names no group for 1 images") as caught:
        find_images(str(root))
    assert ("audit the images again" in str(caught.value)) == is_told
