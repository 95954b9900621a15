import pytest

from pipelines.compare.columns import format_p_value
from pipelines.compare.formats import format_accuracy
from pipelines.compare.formats import format_difference
from pipelines.compare.formats import format_duration
from pipelines.compare.formats import format_p
from pipelines.compare.formats import state_p
from study.statistics.intervals import Estimate


@pytest.mark.parametrize(
    ("p", "text"),
    [
        *((1.0, "1"), (0.314, "0.31"), (0.092, "0.092"), (0.0034, "0.0034"), (0.3, "0.3")),
        *((0.001, "0.001"), (0.00099, "< 0.001"), (0.0, "< 0.001")),
        *((0.0496, "0.0496"), (0.0504, "0.0504"), (0.04996, "0.04996"), (0.050003, "0.050003")),
        *((0.05, "0.05"), (0.0551, "0.055")),
    ],
)
def test_p_value_has_two_digits_and_stays_on_its_side_of_the_level(p: float, text: str) -> None:
    assert format_p(p) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        *((0.314, "0.314"), (0.0004, "<0.001"), (0.0496, "0.0496"), (0.04996, "0.04996")),
        *((0.0502, "0.0502"), (0.05, "0.050"), (0.051, "0.051")),
    ],
)
def test_p_value_of_the_file_stays_on_its_side_of_the_level(p: float, text: str) -> None:
    assert format_p_value(p) == text


def test_p_value_in_a_sentence_has_one_sign() -> None:
    assert state_p(0.314) == "p = 0.31"
    assert state_p(0.0001) == "p < 0.001"


def test_interval_follows_its_estimate_in_one_text() -> None:
    assert format_accuracy(Estimate(0.976, 0.9646, 0.9845)) == "97.6 % (96.5 to 98.5)"
    assert format_difference(Estimate(-0.011, -0.021, 0.0)) == "-1.1 (-2.1 to +0.0)"
    assert format_difference(Estimate(-0.0001, -0.0004, 0.0004)) == "+0.0 (+0.0 to +0.0)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.24, "3.2 s"), (45.4, "45 s"), (151.652, "2.5 min"), (7200, "120 min")],
)
def test_duration_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
