"""Intervals and paired tests, against known answers and on simulated studies."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from study.statistics import intervals
from study.statistics.counts import Counts
from tests.support.simulated import BLOOD
from tests.support.simulated import CorrelatedStudy
from tests.support.simulated import Study

STUDIES = 400
SINGLE = np.ones(600, dtype=int)
WORLDS = {
    "blood, one seed": Study(BLOOD),
    "blood, five seeds": Study(BLOOD, seeds=5),
    "blood, five seeds that all come to the same": Study(BLOOD, seeds=5, seed=0.0),
    "two seeds, each its own test set": Study(np.tile(BLOOD, 3), seeds=2, shared=False),
    "five seeds, each its own test set": Study(np.tile(BLOOD, 3), seeds=5, shared=False),
    "single images": Study(SINGLE, mean=3.0),
}
TWELVE = np.full(12, 10)
UNEVEN = np.array([1, 2, 3, 4, 6, 9, 13, 19, 28, 41])
# Accuracies near 1 and strong groups: where a method that takes the answers as normal, such as a
# jackknife or a bootstrap over groups, covers the truth in 80 to 90 % of the studies
STRONG_GROUPS = {
    "blood at 84 %": CorrelatedStudy(BLOOD, 0.84, 0.5),
    "blood at 95 %": CorrelatedStudy(BLOOD, 0.95, 0.5),
    "blood at 95 %, whole groups": CorrelatedStudy(BLOOD, 0.95, 0.95),
    "blood at 99 %": CorrelatedStudy(BLOOD, 0.99, 0.5),
    "twelve whole groups": CorrelatedStudy(TWELVE, 0.84, 0.95),
    "twelve groups, five seeds": CorrelatedStudy(TWELVE, 0.9, 0.5, seeds=5),
    "twelve groups, ten seeds": CorrelatedStudy(TWELVE, 0.95, 0.5, seeds=10, own=0.1),
    "uneven groups": CorrelatedStudy(UNEVEN, 0.7, 0.9),
    "single images, three seeds": CorrelatedStudy(SINGLE, 0.95, 0.02, seeds=3, own=1.0),
}
# Where accuracy differs between seeds by a standard deviation of 2 to 6 points, and the test images
# tell much less of it
SEED_EFFECTS = {
    "single images, two seeds": Study(np.ones(1168, dtype=int), seeds=2, seed=0.2),
    "single images, three seeds": Study(np.ones(1168, dtype=int), seeds=3, seed=0.2),
    "single images, two seeds, near 1": Study(SINGLE, seeds=2, mean=4.5, seed=0.5),
    "blood, two seeds": Study(BLOOD, seeds=2, seed=0.6),
}


def counts(right: list[float], tested: list[float]) -> Counts:
    return Counts(np.array([right], float).T, np.array([tested], float).T)


def at_most(rate: float, studies: int) -> float:
    """What a true rate is not seen to pass in a simulation, but once in 1,000."""
    return float(stats.binom.isf(0.001, studies, rate)) / studies


@cache
def simulated(world: str) -> tuple[float, float, float]:
    """Coverage of the accuracy's interval; share of null studies with any p below 0.05 before,
    and after Holm's adjustment of six."""
    study, rng = WORLDS[world], np.random.default_rng(1)
    truth, seen = study.accuracy(), []
    for _ in range(STUDIES):
        base, *others = study.draw(rng, gains=(0.0,) * 7)
        found = intervals.estimate_accuracy(base)
        p = [intervals.estimate_difference(other, base).p for other in others]
        # six times the smallest is what Holm makes of it
        seen.append((found.low <= truth <= found.high, p[0] < 0.05, 6 * min(p) < 0.05))
    covered, one, family = np.mean(seen, axis=0)
    return float(covered), float(one), float(family)


@pytest.mark.parametrize("world", WORLDS)
def test_accuracy_interval_covers_the_truth_in_95_percent(world: str) -> None:
    assert 1 - simulated(world)[0] <= at_most(0.05, STUDIES)


@pytest.mark.parametrize("world", ["blood, one seed", "single images"])
def test_accuracy_interval_is_not_wider_than_95_percent(world: str) -> None:
    assert 0.93 <= simulated(world)[0] <= 0.97


@pytest.mark.parametrize("world", WORLDS)
def test_difference_of_equal_configs_is_rarely_significant(world: str) -> None:
    assert simulated(world)[1] <= at_most(0.05, STUDIES)


@pytest.mark.parametrize("world", WORLDS)
def test_six_comparisons_of_equal_configs_are_rarely_significant(world: str) -> None:
    assert simulated(world)[2] <= at_most(0.05, STUDIES)


def test_real_difference_is_usually_significant() -> None:
    study, rng = Study(np.tile(BLOOD, 3), seeds=5, shared=False), np.random.default_rng(2)
    draws = [study.draw(rng, (0.0, 1.0)) for _ in range(200)]
    assert np.mean([intervals.estimate_difference(one, base).p < 0.05 for base, one in draws]) > 0.8
    assert all(intervals.estimate_difference(one, base).value > 0 for base, one in draws)


@pytest.mark.parametrize("world", STRONG_GROUPS)
def test_accuracy_interval_covers_the_truth_where_groups_are_strong(world: str) -> None:
    """Each share has a standard error of 1.3 points."""
    study, rng = STRONG_GROUPS[world], np.random.default_rng(4)
    found = [intervals.estimate_accuracy(study.draw(rng)[0]) for _ in range(300)]
    above = np.mean([study.accuracy < estimate.low for estimate in found])
    below = np.mean([study.accuracy > estimate.high for estimate in found])
    assert above + below <= at_most(0.08, 300)
    assert above <= at_most(0.05, 300)


@pytest.mark.parametrize("world", SEED_EFFECTS)
def test_accuracy_interval_covers_the_truth_where_seeds_differ(world: str) -> None:
    """Each share has a standard error of 1.3 points."""
    study, rng = SEED_EFFECTS[world], np.random.default_rng(11)
    found = [intervals.estimate_accuracy(study.draw(rng)[0]) for _ in range(300)]
    misses = [not estimate.low <= study.accuracy() <= estimate.high for estimate in found]
    assert np.mean(misses) <= at_most(0.05, 300)


def answers(images: int, *wrong: range) -> Counts:
    """Answers to single images, of one seed for each range of images with wrong answers."""
    right = np.array([[image not in each for each in wrong] for image in range(images)], float)
    return Counts(right, np.ones_like(right))


def test_accuracy_interval_of_two_seeds_is_as_wide_as_students() -> None:
    """Though the difference between the seeds is no more than that of their answers to images."""
    found = intervals.estimate_accuracy(answers(100, range(20), range(20, 37)))
    assert found.value == pytest.approx(0.815)
    assert found.high - found.low == pytest.approx(2 * stats.t.isf(0.025, 1) * 0.015)


def test_accuracy_interval_of_two_seeds_is_cut_off_at_one() -> None:
    found = intervals.estimate_accuracy(answers(100, range(0), range(1)))
    assert found.high == 1.0
    assert found.value - found.low >= stats.t.isf(0.025, 1) * 0.005


def test_accuracy_interval_of_seeds_with_equal_accuracies_is_that_of_their_images() -> None:
    found = intervals.estimate_accuracy(answers(100, range(20), range(20)))
    one = intervals.estimate_accuracy(answers(100, range(20)))
    assert (found.low, found.high) == pytest.approx((one.low, one.high), abs=0.01)


@pytest.mark.parametrize(("wrong", "end"), [(range(0), "high"), (range(100), "low")])
def test_accuracy_interval_of_seeds_that_are_all_alike_ends_at_their_accuracy(
    wrong: range, end: str
) -> None:
    found = intervals.estimate_accuracy(answers(100, wrong, wrong, wrong))
    assert getattr(found, end) == found.value
    assert found.high - found.low < 0.03


def test_accuracy_interval_of_single_images_is_jeffreys() -> None:
    right = [1.0] * 90 + [0.0] * 10
    found = intervals.estimate_accuracy(counts(right, [1.0] * 100))
    low, high = proportion_confint(90, 100, method="jeffreys")
    assert found.value == pytest.approx(0.9)
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize(("groups", "images"), [(12, 10), (10, 5), (71, 35), (300, 2)])
def test_lower_bound_hardly_falls_when_one_more_answer_is_right(groups: int, images: int) -> None:
    tested = [float(images)] * groups
    bounds = []
    for wrong in range(min(groups, 20), -1, -1):
        right = [images - 1.0] * wrong + [float(images)] * (groups - wrong)
        bounds.append(intervals.estimate_accuracy(counts(right, tested)).low)
    steps = np.diff(bounds)
    assert steps.min() > -0.015
    assert max(bounds) - bounds[-1] < 0.04


def test_more_groups_narrow_the_interval_of_a_perfect_accuracy() -> None:
    bounds = [
        intervals.estimate_accuracy(counts([30.0] * groups, [30.0] * groups)).low
        for groups in (1, 5, 20, 100)
    ]
    assert bounds == sorted(bounds)
    # Between the bounds for as many groups of one image each, and for as many images
    assert 0.9 * proportion_confint(20, 20, method="jeffreys")[0] < bounds[2] < 0.95


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    right, tested = [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [1.0] * 8
    once = intervals.estimate_accuracy(counts(right, tested))
    often = intervals.estimate_accuracy(counts([20 * r for r in right], [20.0] * 8))
    assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=0.02)


def test_interval_of_one_group_is_nearly_everything() -> None:
    found = intervals.estimate_accuracy(counts([9.0], [10.0]))
    assert found.low < 0.2
    assert found.high > 0.99
    same = intervals.estimate_difference(counts([10.0], [10.0]), counts([0.0], [10.0]))
    assert (same.low, same.high, same.p) == (-1.0, 1.0, 1.0)


def test_difference_of_equal_predictions_has_an_interval_by_groups() -> None:
    one = counts([5.0, 0.0, 5.0], [5.0, 5.0, 5.0])
    found = intervals.estimate_difference(one, one)
    assert (found.value, found.p) == (0.0, 1.0)
    assert found.high == -found.low == pytest.approx(1 - 0.025 ** (1 / 3))


def test_difference_of_one_seed_and_single_images_is_mcnemars_test() -> None:
    """Its mid-p version, exact on average (Fagerland et al. 2013)."""
    base = [1.0] * 40 + [0.0] * 10
    one = [1.0] * 39 + [0.0] + [1.0] * 7 + [0.0] * 3
    found = intervals.estimate_difference(counts(one, [1.0] * 50), counts(base, [1.0] * 50))
    coin = stats.binom(8, 0.5)
    assert found.p == pytest.approx(2 * (coin.sf(7) + coin.pmf(7) / 2))
    assert found.value == pytest.approx(6 / 50)


def test_difference_shown_alike_by_all_groups_has_the_interval_of_its_p() -> None:
    ten = [10.0] * 12
    found = intervals.estimate_difference(counts([9.0] * 12, ten), counts([8.0] * 12, ten))
    assert found.p == pytest.approx(0.5**12)
    assert found.value == pytest.approx(0.1)
    assert 0 < found.low < found.value < found.high < 0.2


def test_difference_with_a_test_set_per_seed_is_a_t_test_over_seeds() -> None:
    """Where the groups say less than the seeds."""
    right = np.kron(np.eye(4), [[8.0], [8.0]]) + np.kron(np.diag([0, 1, 2, 1.5]), [[1.0], [1.0]])
    tested = np.kron(np.eye(4), [[10.0], [10.0]])
    base = Counts(np.kron(np.eye(4), [[7.0], [7.0]]), tested)
    gains = np.array([0.1, 0.2, 0.3, 0.25])
    found = intervals.estimate_difference(Counts(right, tested), base)
    assert found.value == pytest.approx(gains.mean())
    assert found.p == pytest.approx(float(stats.ttest_1samp(gains, 0).pvalue), rel=0.05)


@pytest.mark.parametrize("gain", [6, 12])
def test_two_seeds_that_gain_the_same_differ_by_a_rounding_to_whole_images(gain: int) -> None:
    none = answers(40, range(40), range(40))
    found = intervals.estimate_difference(answers(40, range(gain, 40), range(gain, 40)), none)
    next_one = intervals.estimate_difference(
        answers(40, range(gain, 40), range(gain + 1, 40)), none
    )
    # Each gain is rounded to one of 40 images, with a variance of 1/12 of the squared step.
    assert found.p == pytest.approx(2 * stats.t.sf(gain * np.sqrt(24), 1))
    assert found.p < next_one.p < 0.05


def test_two_seeds_that_gain_all_images_have_no_p_of_zero() -> None:
    every, none = answers(2000, range(0), range(0)), answers(2000, range(2000), range(2000))
    found = intervals.estimate_difference(every, none)
    assert found.p == pytest.approx(2 * stats.t.sf(2000 * np.sqrt(24), 1))
    assert 0 < found.low < found.value == found.high == 1


def test_chance_to_win_counts_ties_half() -> None:
    tested = np.full((1, 4), 10.0)
    base = Counts(np.array([[5.0, 5.0, 5.0, 5.0]]), tested)
    found = intervals.estimate_chance_to_win(Counts(np.array([[6.0, 6.0, 5.0, 4.0]]), tested), base)
    assert found.value == pytest.approx(2.5 / 4)
    assert 0 < found.low < found.value < found.high < 1


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_intervals_of_any_counts_contain_their_value(groups: int, seeds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tested = rng.integers(0, 9, (groups, seeds)).astype(float)
    tested[0] += 1
    one = Counts(rng.binomial(tested.astype(int), 0.9).astype(float), tested)
    base = Counts(rng.binomial(tested.astype(int), 0.5).astype(float), tested)
    found = intervals.estimate_accuracy(one)
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1
    gap, back = intervals.estimate_difference(one, base), intervals.estimate_difference(base, one)
    assert gap.low <= gap.value <= gap.high
    assert (gap.value, gap.low, gap.p) == pytest.approx((-back.value, -back.high, back.p))
    assert 0 <= gap.p <= 1
    assert (gap.p < 0.05) == (gap.low > 0 or gap.high < 0)
