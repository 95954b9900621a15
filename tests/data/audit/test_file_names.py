"""Patients in file names: patterns that are found, those that users give, and their errors."""

import hashlib
import re
from collections.abc import Iterable

import pytest

from study.common.errors import DataError
from study.data.audit.file_names import check_groups
from study.data.audit.file_names import match_groups
from study.data.audit.file_names import parse_pattern
from study.data.audit.file_names import suggest_patterns
from study.data.audit.findings import join_groups
from study.data.listing import Entry

PERSON = r"^(?P<group>person\d+)"


def list_entries(names: Iterable[str], classes: int = 2) -> list[Entry]:
    labels = [f"class{number}" for number in range(classes)]
    return [
        Entry(f"{labels[number % classes]}/{name}", labels[number % classes], "")
        for number, name in enumerate(names)
    ]


def suggest(names: Iterable[str], classes: int = 2) -> tuple[list[str], set[str]]:
    """The patterns that names suggest, and the groups that these give."""
    entries = list_entries(names, classes)
    patterns = suggest_patterns(entries)
    groups = match_groups([entry.image for entry in entries], patterns)
    return [pattern.pattern for pattern in patterns], set(groups.values())


def test_names_of_kaggles_chest_suggest_a_pattern_for_each_series() -> None:
    names = [f"person{n // 3}_{('virus', 'bacteria')[n % 2]}_{n}.jpeg" for n in range(90)]
    names += [f"NORMAL2-IM-{n // 2:04}-{n % 2 + 1:04}.jpeg" for n in range(40)]
    names += [f"IM-{n:04}-0001.jpeg" for n in range(30)]
    patterns, groups = suggest(names)
    assert patterns == [PERSON, r"^(?P<group>NORMAL2-IM-\d+)", r"^(?P<group>IM-\d+)"]
    assert {"person7", "NORMAL2-IM-0012", "IM-0029"} < groups
    assert len(groups) == 30 + 20 + 30


def test_equal_names_in_several_class_folders_count_as_several_images() -> None:
    names = [f"p{n // 3:02}_{n % 3}.png" for n in range(60)]
    entries = [Entry(f"{label}/{name}", label, "") for label in "abc" for name in names]
    assert [pattern.pattern for pattern in suggest_patterns(entries)] == [r"^(?P<group>p\d+)"]


@pytest.mark.parametrize(
    ("names", "pattern", "group", "count"),
    [
        (
            [f"BACTERIA-{1000 + n // 3}-{n % 3 + 1:04}.jpeg" for n in range(60)],
            *(r"^(?P<group>BACTERIA-\d+)", "BACTERIA-1008", 20),
        ),
        (
            [f"patient{n // 4:03}_study{n % 4 // 2}_{'lr'[n % 2]}.png" for n in range(100)],
            *(r"^(?P<group>patient\d+)", "patient012", 25),
        ),
        (
            [f"p{n // 3}s{n % 3}.png" for n in range(90)],
            *(r"^(?P<group>p\d+)", "p12", 30),
        ),
        (
            [f"{n // 2}_{('left', 'right')[n % 2]}.jpeg" for n in range(60)],
            *(r"^(?P<group>\d+)", "12", 30),
        ),
        (
            [f"scan (a+b) {n // 2}-{n % 2}.png" for n in range(60)],
            *(r"^(?P<group>scan \(a\+b\) \d+)", "scan (a+b) 12", 30),
        ),
        (
            [f"site{site}_{n // 3}_{n % 3}.png" for site in "ABCDEFG" for n in range(24)],
            *(r"^(?P<group>\D*\d+)", "siteB_7", 56),
        ),
        (
            [f"{who}_Ann_{n:02}.png" for who in ("Li", "Wu", "Ito", "Ek", "Roy") for n in range(4)],
            *(r"^(?P<group>\D*[^\W\d_])[\W_]*\d+\.[^.]*$", "Ito_Ann", 5),
        ),
    ],
)
def test_shared_beginnings_of_names_suggest_a_pattern(
    names: list[str], pattern: str, group: str, count: int
) -> None:
    patterns, groups = suggest(names)
    assert patterns == [pattern]
    assert group in groups
    assert len(groups) == count


@pytest.mark.parametrize(
    "names",
    [
        [f"IMG_{n:04}.png" for n in range(200)],
        [f"{n}.png" for n in range(200)],
        [f"{n:04}_resized.png" for n in range(200)],
        [f"{('cat', 'dog')[n % 2]}_{n:04}.png" for n in range(200)],
        [f"ab{n % 2}_{n:04}.png" for n in range(200)],
        [f"{hashlib.sha256(str(n).encode()).hexdigest()[:8]}.png" for n in range(2000)],
        [f"{hashlib.sha256(str(n).encode()).hexdigest()[:6]}-x.png" for n in range(2000)],
        ["new\nline.png", "", ".png", "1", "a.png"],
        [],
    ],
)
def test_names_of_single_images_classes_and_codes_suggest_nothing(names: list[str]) -> None:
    assert suggest(names) == ([], set())


def test_numbers_of_classes_suggest_nothing() -> None:
    assert suggest([f"class{n % 10}_{n}.png" for n in range(200)], classes=10) == ([], set())


def test_first_pattern_that_matches_gives_the_group() -> None:
    patterns = [
        parse_pattern(r"(?P<group>p\d+)_"),
        parse_pattern(r"(?P<site>[A-Z])?x(?P<n>\d+)"),
        parse_pattern(r"(?P<group>.*)_empty"),
    ]
    images = ["p9/p1_Ax2.png", "a/Bx3.png", "a/x4.png", "a/_empty", "a/none"]
    assert match_groups(images, patterns) == {
        "p9/p1_Ax2.png": "p1",
        "a/Bx3.png": "B-3",
        "a/x4.png": "4",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(", "'(' is not a regular expression: missing )"),
        ("person\\d+", "does not say which part of a file name is the group: put it in (?P<group>"),
    ],
)
def test_bad_pattern_is_refused(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        parse_pattern(text)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["(?P<group>foo)"], "'(?P<group>foo)' gives no group for any file name, such as 'person0"),
        ([PERSON, "(?P<group>foo)"], "'(?P<group>foo)' gives no group"),
        (["(?P<group>person)"], "puts all 100 images into one group, 'person'"),
        (["(?P<group>person[0-3]_)"], "88 of 100 file names match no --groups-from, such as"),
    ],
)
def test_patterns_without_useful_groups_are_refused(texts: list[str], words: str) -> None:
    entries = list_entries(f"person{n // 3}_{n}.png" for n in range(100))
    with pytest.raises(DataError, match=re.escape(words)):
        check_groups(entries, [parse_pattern(text) for text in texts])


def test_few_names_without_a_pattern_are_counted_and_named() -> None:
    entries = list_entries([*(f"person{n // 3}_{n}.png" for n in range(100)), "other.png"])
    (note,) = check_groups(entries, [parse_pattern(PERSON)])
    assert note.startswith("1 of 101 file names match no --groups-from, such as 'other.png'")
    assert check_groups(entries, [parse_pattern(PERSON), parse_pattern("(?P<group>.+)")]) == ()


def test_groups_of_one_image_each_are_noted() -> None:
    entries = list_entries(f"{n}.png" for n in range(100))
    (note,) = check_groups(entries, [parse_pattern("(?P<group>.+)")])
    assert note == "--groups-from gives every image a group of its own, such as '0.png'"


def test_groups_that_share_near_duplicates_are_joined() -> None:
    named = {"a": "person2", "b": "person1", "c": "person3", "d": "person2"}
    near = {"a": "near-1", "b": "near-1", "c": "single-1", "d": "single-2", "e": "single-3"}
    assert join_groups(named, near) == {
        **dict.fromkeys("abd", "person1"),
        "c": "person3",
        "e": "single-3",
    }
