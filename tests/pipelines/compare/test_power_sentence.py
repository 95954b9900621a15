"""What a study could have found, and what would find more, in words."""

import dataclasses
import math
from typing import Any

import pytest

from pipelines.compare.blocks import Block
from pipelines.compare.blocks import Row
from pipelines.compare.columns import format_cells
from pipelines.compare.columns import select_columns
from pipelines.compare.power_sentence import describe_power
from pipelines.compare.reflection import answer_questions
from pipelines.compare.table import build_table
from pipelines.compare.verdict import Verdict
from study.statistics.intervals import Estimate
from study.statistics.power import Power
from study.variants import resolve_config
from tests.pipelines.compare.test_block_verdicts import make_run

ONE_SEED = Power(smallest=0.081, groups=71, seeds=1, groups_needed=2130, seeds_needed=None)
FIVE_SEEDS = Power(smallest=0.04, groups=71, seeds=5, groups_needed=None, seeds_needed=None)


def a_row(power: Power | None, gain: float, *, dataset: str = "blood", **fields: Any) -> Row:
    run = dataclasses.replace(make_run(2), config=resolve_config(dataset, 2, {}))
    estimate = Estimate(gain, gain - 0.05, gain + 0.05, 0.5)
    verdict = Verdict(gain=estimate, p=0.5, power=power, **{"grouped": True, **fields})
    return Row([run], verdict)


def test_sentence_of_one_seed_says_how_many_groups_it_would_take() -> None:
    assert describe_power([a_row(ONE_SEED, -0.012)]) == [
        "With one seed, which tests 71 photographs, only differences of 8.1 points or more would "
        "have been found in four of five studies. The difference of 1.2 points that was seen would "
        "take about 30 times as many photographs, and one seed cannot tell whether more seeds "
        "would help."
    ]


@pytest.mark.parametrize(
    ("groups", "seeds", "words"),
    [
        (142, 12, "that was seen would take about 12 seeds, or about 2 times as many photographs."),
        (None, 12, "No number of photographs would show the difference of 1.2 points that was seen,"
         " but about 12 seeds would."),
        (107, None, "No number of seeds would show the difference of 1.2 points that was seen, but "
         "about 1.5 times as many photographs would."),
        (None, None, "that was seen would take more seeds and more photographs, as neither alone "
         "would show it."),
        (71_000, 900, "take more than 100 seeds, or more than 100 times as many photographs."),
    ],
)  # fmt: skip
def test_sentence_of_several_seeds_says_which_of_both_would_help(
    groups: int | None, seeds: int | None, words: str
) -> None:
    power = dataclasses.replace(FIVE_SEEDS, groups_needed=groups, seeds_needed=seeds)
    (sentence,) = describe_power([a_row(power, 0.012)])
    assert sentence.startswith(
        "With 5 seeds, which test 71 photographs in all, only differences of 4"
    )
    assert sentence.endswith(words)


def test_sentence_of_two_rows_is_about_the_larger_difference() -> None:
    (sentence,) = describe_power([a_row(FIVE_SEEDS, 0.01), a_row(ONE_SEED, -0.02)])
    assert sentence.startswith(
        "With these seeds and test images, only differences of 4.0 to 8.1 points or more, "
        "depending on the config, would"
    )
    assert "The larger difference of 2.0 points that was seen would take about 30 times" in sentence
    assert sentence.endswith("The larger of two is likely too large, so more would be needed.")


def test_sentence_of_three_rows_states_the_study_that_they_have_in_common() -> None:
    (sentence,) = describe_power([a_row(ONE_SEED, gain) for gain in (0.01, -0.02, 0.015)])
    assert sentence.startswith("With one seed, which tests 71 photographs, only differences of 8.1")
    assert "The largest difference of 2.0 points that was seen" in sentence
    assert sentence.endswith("The largest of several is likely too large, so more would be needed.")


def test_sentence_of_no_difference_does_not_say_what_would_find_it() -> None:
    (sentence,) = describe_power([a_row(ONE_SEED, 0.0)])
    assert sentence.endswith("would have been found in four of five studies.")


def test_sentence_of_too_few_groups_says_that_nothing_can_be_found() -> None:
    few = Power(smallest=math.inf, groups=4, seeds=1, groups_needed=7, seeds_needed=None)
    (sentence,) = describe_power([a_row(few, 0.3, dataset="demo")])
    assert "tests 4 originals, no difference would have been found, however large" in sentence
    assert "about 1.8 times as many originals" in sentence


def test_single_images_are_called_test_images() -> None:
    (sentence,) = describe_power([a_row(ONE_SEED, 0.012, grouped=False)])
    assert "tests 71 test images" in sentence
    assert "30 times as many test images" in sentence


def test_sentence_is_left_out_where_nothing_is_known() -> None:
    assert describe_power([a_row(None, 0.0)]) == []
    assert describe_power([]) == []


def test_answer_without_evidence_says_what_could_have_been_found() -> None:
    baseline = Row([make_run(1)], Verdict())
    answers = answer_questions([baseline, a_row(ONE_SEED, 0.012, dataset="chest")])
    sentence = answers["What does the number of dense units change?"][1]
    assert sentence.startswith("With one seed, which tests 71 patients, only differences of 8.1")


def test_table_has_the_detectable_difference_in_points() -> None:
    few = dataclasses.replace(ONE_SEED, smallest=math.inf)
    rows = [a_row(ONE_SEED, 0.01), a_row(few, 0.01), a_row(None, 0.0)]
    table = build_table([Block("a protocol", rows)])
    (column,) = [c for c in select_columns(table) if c.title == "Detectable (points)"]
    assert column.group == "Against the baseline"
    for page, cells in ((True, ["8.1", "over 100", ""]), (False, ["8.10", "inf", ""])):
        assert [cell for (cell,) in format_cells(table, [column], page=page)] == cells
