"""Intervals and paired tests, against known answers and on simulated studies."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from scipy import stats

from study.statistics import intervals
from study.statistics.intervals import Counts
from tests.support.simulated import BLOOD
from tests.support.simulated import Study

STUDIES = 1000
SINGLE = np.ones(600, dtype=int)
WORLDS = {
    "blood, one seed": Study(BLOOD),
    "blood, five seeds": Study(BLOOD, seeds=5),
    "blood, five seeds that all come to the same": Study(BLOOD, seeds=5, seed=0.0),
    "two seeds, each its own test set": Study(np.tile(BLOOD, 3), seeds=2, shared=False),
    "five seeds, each its own test set": Study(np.tile(BLOOD, 3), seeds=5, shared=False),
    "single images": Study(SINGLE, mean=3.0),
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


def test_accuracy_interval_of_single_images_is_near_wilsons() -> None:
    right = [1.0] * 90 + [0.0] * 10
    found = intervals.estimate_accuracy(counts(right, [1.0] * 100))
    wanted = stats.binomtest(90, 100).proportion_ci(method="wilson")
    assert found.value == pytest.approx(0.9)
    # Student's t of 99 degrees of freedom, and the variance with n - 1
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.002)


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    right, tested = [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [1.0] * 8
    once = intervals.estimate_accuracy(counts(right, tested))
    often = intervals.estimate_accuracy(counts([20 * r for r in right], [20.0] * 8))
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_interval_of_a_perfect_accuracy_depends_on_the_groups() -> None:
    found = intervals.estimate_accuracy(counts([30.0] * 20, [30.0] * 20))
    wanted = stats.binomtest(20, 20).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, 1.0))


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


def test_difference_of_one_seed_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    one, base = rng.integers(0, 2, (2, 50)).astype(float)
    found = intervals.estimate_difference(
        counts(list(one), [1.0] * 50), counts(list(base), [1.0] * 50)
    )
    wanted = stats.ttest_rel(one, base)
    assert found.p == pytest.approx(float(wanted.pvalue), rel=1e-6)
    ends = wanted.confidence_interval()
    assert (found.low, found.high) == pytest.approx((float(ends.low), float(ends.high)))


def test_difference_with_a_test_set_per_seed_is_a_t_test_over_seeds() -> None:
    """Where the groups say less than the seeds."""
    right = np.kron(np.eye(4), [[8.0], [8.0]]) + np.kron(np.diag([0, 1, 2, 1.5]), [[1.0], [1.0]])
    tested = np.kron(np.eye(4), [[10.0], [10.0]])
    base = Counts(np.kron(np.eye(4), [[7.0], [7.0]]), tested)
    gains = np.array([0.1, 0.2, 0.3, 0.25])
    found = intervals.estimate_difference(Counts(right, tested), base)
    assert found.value == pytest.approx(gains.mean())
    assert found.p == pytest.approx(float(stats.ttest_1samp(gains, 0).pvalue), rel=1e-6)


def test_chance_to_win_counts_ties_half() -> None:
    tested = np.full((1, 4), 10.0)
    base = Counts(np.array([[5.0, 5.0, 5.0, 5.0]]), tested)
    found = intervals.estimate_chance_to_win(Counts(np.array([[6.0, 6.0, 5.0, 4.0]]), tested), base)
    assert found.value == pytest.approx(2.5 / 4)
    assert 0 < found.low < found.value < found.high < 1


@settings(max_examples=60, deadline=None)
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
    assert 0 < gap.p <= 1
