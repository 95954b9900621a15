import pytest

from study.common.errors import DataError
from study.data.names import check_name
from study.data.names import check_similar_labels
from study.data.names import escape_name

COMPOSED = "\u00e9osinophile"
DECOMPOSED = "e\u0301osinophile"


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a/plain name_1.png", "a/plain name_1.png"),
        ("a/Scan\u202f9 AM.png", "a/Scan\u202f9 AM.png"),
        (f"a/{DECOMPOSED} 😀.png", f"a/{DECOMPOSED} 😀.png"),
        ("a/caf\udce9.png", "a/caf\\xe9.png"),
        ("two\nlines\u2028and\x1b.png", "two\\nlines\\u2028and\\x1b.png"),
    ],
)
def test_escape_name_escapes_only_what_not_every_file_can_hold(name: str, escaped: str) -> None:
    assert escape_name(name) == escaped
    assert escape_name(escaped) == escaped


@pytest.mark.parametrize("name", ["M\udcfcller", "two\nlines"])
def test_check_writable_refuses_what_needs_escapes(name: str) -> None:
    check_name("Müller 😀", "the class folder")
    with pytest.raises(DataError, match=r"the class folder .* rename it"):
        check_name(name, "the class folder")


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ("Normal", "NORMAL", "case"),
        ("normal", "normal ", "blanks"),
        (COMPOSED, DECOMPOSED, "Unicode form"),
        ("Normal", "normal\u200b", "case, blanks or Unicode form"),
    ],
)
def test_classes_that_look_alike_in_two_parts_are_refused(
    first: str, second: str, difference: str
) -> None:
    with pytest.raises(DataError, match=f"differ by {difference} only: .* rename their folders"):
        check_similar_labels({first: {"train"}, second: {"test"}, "other": {"train", "test"}})


def test_classes_that_differ_by_case_in_the_same_parts_are_noted() -> None:
    labels = {"a": {"train", "test"}, "A": {"train", "test"}}
    assert check_similar_labels(labels) == [
        "classes 'A' (in test, train) and 'a' (in test, train) differ by case only and are "
        "trained as 2"
    ]


def test_classes_that_look_the_same_are_refused_in_any_layout() -> None:
    with pytest.raises(DataError, match="Unicode form"):
        check_similar_labels({COMPOSED: {""}, DECOMPOSED: {""}})
