"""Smallest differences that a study finds, against known answers and on simulated studies."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from study.statistics.counts import Counts
from study.statistics.difference_variance import DifferenceVariance
from study.statistics.difference_variance import estimate_difference_variance
from study.statistics.intervals import estimate_difference
from study.statistics.power import compute_power
from study.statistics.power import find_smallest_difference
from tests.support.simulated import BLOOD
from tests.support.simulated import CorrelatedStudy

WORLDS = {
    "blood": CorrelatedStudy(BLOOD, 0.8, 0.3, own=0.3),
    "blood, five seeds": CorrelatedStudy(BLOOD, 0.8, 0.3, seeds=5, own=0.3),
    "forty groups": CorrelatedStudy(np.full(40, 5), 0.8, 0.3, own=0.3),
    "twelve groups, three seeds": CorrelatedStudy(np.full(12, 10), 0.7, 0.3, seeds=3, own=0.3),
    "single images": CorrelatedStudy(np.ones(300, dtype=int), 0.85, 0.3, own=0.3),
}
PARTS = DifferenceVariance(
    groups=1e-4, interaction=4e-5, seeds=4e-5, group_count=100, seed_count=5, group_freedom=60.0
)
shares = st.just(0.0) | st.floats(1e-9, 1e-3)
variances = st.builds(
    DifferenceVariance,
    groups=shares,
    interaction=shares,
    seeds=shares,
    group_count=st.just(50),
    seed_count=st.just(4),
    group_freedom=st.floats(1, 49),
    step=st.floats(0, 0.01),
)


def find_median_smallest_difference(
    study: CorrelatedStudy, gain: float, rng: np.random.Generator
) -> float:
    smallest = []
    for _ in range(60):
        base, one = study.draw(rng, 2, gain)
        variance = estimate_difference_variance(one, base)
        assert variance is not None
        smallest.append(find_smallest_difference(variance))
    return float(np.median(smallest))


@pytest.mark.parametrize("world", WORLDS)
def test_smallest_difference_is_found_in_four_of_five_simulated_studies(world: str) -> None:
    """The share of 300 studies has a standard error of 2.3 points.

    Two of them on either side, and 5 more, because a study's variance is itself an estimate.
    """
    study, rng = WORLDS[world], np.random.default_rng(5)
    # The variance depends a little on the difference, so it is worked out twice.
    first = find_median_smallest_difference(study, 0.0, rng)
    smallest = find_median_smallest_difference(study, first, rng)
    draws = [study.draw(rng, 2, smallest) for _ in range(300)]
    found = np.mean([estimate_difference(one, base).p < 0.05 for base, one in draws])
    assert found == pytest.approx(0.8, abs=0.1)


def test_smallest_difference_of_equal_groups_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(6)
    tested = np.full((25, 1), 40.0)
    base = Counts(rng.binomial(40, 0.7, (25, 1)).astype(float), tested)
    one = Counts(rng.binomial(40, 0.8, (25, 1)).astype(float), tested)
    variance = estimate_difference_variance(one, base)
    assert variance is not None
    deviation = float(((one.right - base.right) / 40).std(ddof=1))
    effect = TTestPower().solve_power(nobs=25, alpha=0.05, power=0.8)
    assert find_smallest_difference(variance) == pytest.approx(effect * deviation, rel=1e-3)


@settings(max_examples=200)
@given(variances, st.integers(2, 30), st.integers(1, 30))
def test_more_seeds_never_raise_the_smallest_difference(
    variance: DifferenceVariance, seeds: int, more: int
) -> None:
    fewer = find_smallest_difference(variance.with_seeds(seeds))
    assert find_smallest_difference(variance.with_seeds(seeds + more)) <= fewer + 1e-9


@settings(max_examples=200)
@given(variances, st.integers(5, 300), st.integers(1, 300))
def test_more_groups_never_raise_the_smallest_difference(
    variance: DifferenceVariance, groups: int, more: int
) -> None:
    fewer = find_smallest_difference(variance.with_groups(groups))
    assert find_smallest_difference(variance.with_groups(groups + more)) <= fewer + 1e-9


def test_needed_numbers_are_the_smallest_that_find_the_difference() -> None:
    power = compute_power(PARTS, -0.033)
    assert power.smallest > 0.033
    assert power.seeds_needed is not None
    assert power.groups_needed is not None
    for change, needed in (
        (PARTS.with_seeds, power.seeds_needed),
        (PARTS.with_groups, power.groups_needed),
    ):
        assert find_smallest_difference(change(needed)) <= 0.033
        assert find_smallest_difference(change(needed - 1)) > 0.033


def test_no_number_of_seeds_finds_a_difference_that_the_groups_hide() -> None:
    power = compute_power(replace(PARTS, seeds=1e-6), 0.02)
    assert power.seeds_needed is None
    assert power.groups_needed is not None


def test_no_number_of_groups_finds_a_difference_that_the_seeds_hide() -> None:
    power = compute_power(replace(PARTS, groups=1e-6, seeds=1e-3), 0.02)
    assert power.groups_needed is None
    assert power.seeds_needed is not None


def test_one_seed_does_not_tell_how_many_seeds_are_needed() -> None:
    base, one = WORLDS["forty groups"].draw(np.random.default_rng(7), 2, 0.02)
    variance = estimate_difference_variance(one, base)
    assert variance is not None
    power = compute_power(variance, 0.02)
    assert (power.seeds, power.seeds_needed) == (1, None)
    assert power.groups_needed is not None


def test_four_groups_are_too_few_to_find_any_difference() -> None:
    tested = np.full((4, 1), 10.0)
    right = np.array([[8.0], [9.0], [7.0], [9.0]])
    variance = estimate_difference_variance(Counts(right, tested), Counts(0 * right, tested))
    assert variance is not None
    power = compute_power(variance, 0.825)
    assert power.smallest == math.inf
    assert power.groups_needed == 7


def test_answers_that_are_all_alike_tell_no_smallest_difference() -> None:
    (counts,) = WORLDS["blood"].draw(np.random.default_rng(8))
    assert estimate_difference_variance(counts, counts) is None


def test_smallest_difference_of_several_comparisons_is_larger() -> None:
    assert find_smallest_difference(PARTS, 0.05 / 6) > 1.1 * find_smallest_difference(PARTS)
