"""Long error texts are shortened so that they can still be read."""

import pytest

from study.common.errors import first_line
from study.common.errors import shorten

WORDS = " ".join(f"word{number}" for number in range(200))


@pytest.mark.parametrize("length", range(40, 60))
def test_long_text_is_cut_between_words(length: int) -> None:
    short = shorten(WORDS, length)
    start, _, end = short.partition(" ... ")
    assert len(short) <= length
    assert len(short) > length // 2
    assert WORDS.startswith(f"{start} ")
    assert WORDS.endswith(f" {end}")


def test_long_path_is_cut_within_it() -> None:
    path = "/folder" * 50
    short = shorten(path, 100)
    assert 95 < len(short) <= 100
    assert short.startswith("/folder/folder")
    assert short.endswith("/folder/folder")


def test_short_text_stays_as_it_is() -> None:
    assert shorten("all of it", 9) == "all of it"


def test_error_without_a_text_gives_its_class() -> None:
    assert first_line(ValueError()) == "ValueError"
    assert first_line(ValueError("one\ntwo")) == "one"
