"""The three lines that open the report."""

import dataclasses
from collections.abc import Sequence

import pytest

from pipelines.compare.answer import write_answer
from pipelines.compare.blocks import Row
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished_run import FinishedRun
from study.statistics.intervals import Estimate
from study.variants import resolve_config
from tests.pipelines.compare.test_block_verdicts import make_run

REPORTED = {1: 0.9726, 2: 0.9838, 3: 0.9795}


def make_row(
    variant: int,
    accuracy: float,
    p: float = 0.5,
    leak: str = "446/1168",
    seeds: int = 1,
    *,
    val: Sequence[float] = (0.95,),
) -> Row:
    """A row of chest, whose gain is its accuracy minus 0.97, with half a point either way.

    `val` is the accuracy on validation, of each seed or of all.
    """
    runs = [
        make_chest_run(variant, seed, leak, val[seed % len(val)])
        for seed in range(max(seeds, len(val)))
    ]
    gain = None
    if variant != 1:
        value = accuracy - 0.97
        gain = Estimate(value, value - 0.005, value + 0.005, p)
    estimate = Estimate(accuracy, accuracy - 0.005, accuracy + 0.005)
    return Row(runs, Verdict(estimate, gain=gain, p=gain and p, seeds=seeds, pairs=seeds))


def make_chest_run(variant: int, seed: int, leak: str, val: float) -> FinishedRun:
    config = resolve_config("chest", variant, {"seed": seed})
    run = make_run(variant, seed)
    metrics = run.metrics | {"val_accuracy": val}
    return dataclasses.replace(
        run, config=config, leak=leak, sizes="3738/934/1168", metrics=metrics
    )


def answer(*rows: Row) -> list[str]:
    return [line.text for line in write_answer(rows)]


def test_answer_counts_the_reported_accuracies_within_the_intervals() -> None:
    reproduced, _, _ = answer(make_row(1, 0.97), make_row(2, 0.96), make_row(3, 0.99))
    assert reproduced == (
        "One of the three reported accuracies lies within the 95 % interval of this study. "
        "Variant 2 is 2.4 points below the report. Variant 3 is 1.0 points above the report. Even "
        "if the truth were equal, about one in six would lie outside, because a reported accuracy "
        "has an error of its own. The differences of variants 2 and 3 are larger than both "
        "errors together (the report's 1170 test images taken as independent)."
    )
    assert answer(*(make_row(number, REPORTED[number]) for number in REPORTED))[0] == (
        "All three reported accuracies lie within the 95 % interval of this study."
    )


def test_answer_takes_the_error_of_a_reported_accuracy_into_account() -> None:
    missed = REPORTED[1] - 0.007  # outside an interval of half a point, inside both errors
    text = answer(make_row(1, missed))[0]
    assert text.startswith("The reported accuracy does not lie within the 95 % interval")
    assert "No difference is larger than both errors together" in text
    assert "The difference of variant 1 is larger" in answer(make_row(1, missed - 0.005))[0]


def test_answer_says_both_where_two_accuracies_are_reproduced() -> None:
    rows = [make_row(number, REPORTED[number]) for number in (1, 2)]
    assert answer(*rows)[0].startswith("Both reported accuracies lie within")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.96, 0.98, "Yes."), (0.7, 0.8, "This is not shown."), (0.5, 0.6, "No, it is worse.")],
)
def test_answer_first_says_whether_the_best_beats_chance(
    low: float, high: float, verdict: str
) -> None:
    estimate = Estimate((low + high) / 2, low, high)
    row = make_row(1, 0.97)
    row = dataclasses.replace(row, verdict=Verdict(estimate, chance=0.73))
    first = write_answer([row])[0]
    assert first.label == "Better than chance?"
    assert first.text.startswith(f"{verdict} The best on validation, variant 1, is right on ")
    assert first.text.endswith("Always predicting the most frequent class is right on 73.0 %.")


def test_answer_of_another_protocol_says_that_it_confirms_nothing() -> None:
    row = make_row(1, 0.97)
    runs = [dataclasses.replace(run, config=run.config.replace(epochs=2)) for run in row.runs]
    reproduced = answer(dataclasses.replace(row, runs=runs))[0]
    assert reproduced.endswith(
        "The protocol is not the report's (different: epochs), so this neither confirms nor "
        "refutes it."
    )


def test_answer_names_the_best_on_validation_and_whether_it_beats_the_baseline() -> None:
    base = make_row(1, 0.97)
    best = make_row(2, 0.975, val=[0.96])
    assert answer(base, best, make_row(3, 0.98))[1] == (
        "Variant 2 is the best on validation; its test accuracy is 97.5 % (97.0 to 98.0). Neither "
        "of the two variants differs significantly from the baseline (smallest adjusted p = 0.5)."
    )
    assert answer(base, best, make_row(3, 0.94, p=0.001, seeds=2))[1] == (
        "Variant 2 is the best on validation (on the one seed that all share); its test accuracy "
        "is 97.5 % (97.0 to 98.0). Its difference from the baseline (+0.5 points) is not "
        "significant (adjusted p = 0.5). Variant 3 is significantly less accurate than the "
        "baseline, by 3.0 points (2.5 to 3.5). The other one does not differ significantly from it."
    )


def test_answer_counts_the_variants_that_tie_for_the_best_on_validation() -> None:
    best = answer(make_row(1, 0.97), make_row(2, 0.98, val=[0.96]), make_row(3, 0.97, val=[0.96]))
    assert best[1].startswith(
        "2 variants tie for the best on validation (val 0.9600). The first of them is variant 2; "
        "its test accuracy is 98.0 % (97.5 to 98.5)."
    )


def test_best_variant_is_ranked_on_the_seeds_that_all_variants_share() -> None:
    rows = [make_row(6, 0.979, val=[0.979]), make_row(7, 0.97, val=[0.981, 0.966])]
    assert answer(*rows)[1].startswith(
        "Variant 7 is the best on validation (on the one seed that all share); its test accuracy"
    )


def test_variants_without_a_shared_seed_have_no_best() -> None:
    rows = [make_row(6, 0.979), make_row(7, 0.97, seeds=2)]
    other = dataclasses.replace(rows[1], runs=rows[1].runs[1:])
    assert answer(rows[0], other)[1].startswith(
        "No variant is named the best, because the variants share no seed."
    )


@pytest.mark.parametrize(
    ("leak", "sentence"),
    [
        ("0/1168", "No test image has a sibling in training"),
        ("unknown", "It is not known how many test images have a sibling"),
        ("446/1168", "38.2 % of the test images have a sibling in training"),
        ("at least 446/1168", "At least 38.2 % of the test images have a sibling in training"),
        ("1168/1168", "All test images have a sibling in training"),
    ],
)
def test_answer_says_how_many_test_images_have_a_sibling(leak: str, sentence: str) -> None:
    assert sentence in answer(make_row(1, 0.97, leak=leak))[2]


def test_answer_says_what_the_seeds_allow_to_conclude() -> None:
    one = make_row(1, 0.97)
    five = make_row(2, 0.975, seeds=5)
    assert "Only one seed was trained" in answer(one)[2]
    assert "Variant 1 was judged on one seed only" in answer(one, five)[2]
    assert answer(five)[2].endswith(
        "Each row was judged on five seeds, and the intervals account for them."
    )


def test_answer_counts_the_seeds_that_have_predictions() -> None:
    row = make_row(1, 0.97, seeds=3)
    one = dataclasses.replace(row, verdict=dataclasses.replace(row.verdict, seeds=1))
    assert answer(one)[2].endswith(
        "Only one seed has predictions, and another may change an accuracy by some points: a "
        "difference may be due to chance. In 1 of 1 row, seeds that lack predictions or folds are "
        "left out."
    )
    assert "Variant 1 was judged on one seed only" in answer(one, make_row(2, 0.97, seeds=3))[2]
    none = dataclasses.replace(row, verdict=Verdict())
    (trust,) = answer(none)[-1:]
    assert "No row has an interval, because predictions or folds are missing." in trust
