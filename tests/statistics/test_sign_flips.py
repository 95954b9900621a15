"""The randomization test of paired differences, against SciPy's and known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from study.statistics.sign_flips import compute_sign_flip_p_value


def test_p_of_few_differences_is_scipys_with_half_of_the_ties() -> None:
    differences = np.random.default_rng(0).normal(0.4, 1, 12)
    found = stats.permutation_test(
        (differences,), lambda x, axis: x.sum(axis), permutation_type="samples", vectorized=True
    )
    ties = 2  # the differences as they are, and all with the other sign
    assert compute_sign_flip_p_value(differences) == pytest.approx(found.pvalue - ties / 2**13)


def test_p_of_differences_of_one_size_is_the_sign_test() -> None:
    differences = np.repeat([1.0, -1.0], [9, 2])
    coin = stats.binom(11, 0.5)
    assert compute_sign_flip_p_value(differences) == pytest.approx(
        2 * (coin.sf(9) + coin.pmf(9) / 2)
    )


@pytest.mark.parametrize(("negative", "count"), [(0, 20), (0, 60), (1, 40), (5, 40), (12, 90)])
def test_p_beyond_the_random_changes_is_that_of_the_sign_test(negative: int, count: int) -> None:
    """Its standard error is about 3 %."""
    differences = np.repeat([0.3, -0.3], [count - negative, negative])
    coin = stats.binom(count, 0.5)
    wanted = 2 * (coin.cdf(negative) - coin.pmf(negative) / 2)
    assert wanted < 1e-4
    assert compute_sign_flip_p_value(differences) == pytest.approx(wanted, rel=0.1)


def test_p_beyond_the_random_changes_is_that_of_all_changes() -> None:
    differences = np.random.default_rng(2).gamma(2, 1, 18)
    differences[differences.argmin()] *= -1
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    larger = np.mean(np.abs(sums) > differences.sum() + 1e-9)
    wanted = larger + 1 / 2**18  # half of the two that are equal
    assert 2 / 2**18 < wanted < 1e-4
    assert compute_sign_flip_p_value(differences) == pytest.approx(wanted, rel=0.1)


def test_differences_that_all_agree_have_the_smallest_p_of_their_number() -> None:
    """Also where their sizes differ much. Holm's method finds it among a thousand comparisons."""
    differences = np.repeat([1.0, 0.001], [15, 15])
    assert compute_sign_flip_p_value(differences) == pytest.approx(2.0**-30)


@pytest.mark.parametrize("count", [20, 150])
def test_p_of_many_differences_is_near_the_t_test(count: int) -> None:
    differences = np.random.default_rng(1).normal(0.15, 0.5, count)
    wanted = stats.ttest_1samp(differences, 0).pvalue
    assert compute_sign_flip_p_value(differences) == pytest.approx(wanted, abs=0.01)


@given(st.lists(st.floats(-1, 1, allow_nan=False), max_size=30))
def test_p_is_a_share_and_the_same_for_the_other_sign(values: list[float]) -> None:
    differences = np.array(values)
    p = compute_sign_flip_p_value(differences)
    assert 0 <= p <= 1
    assert compute_sign_flip_p_value(-differences) == pytest.approx(p)


def test_differences_of_zero_leave_the_p_value_unchanged() -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.5])
    padded = np.concatenate([np.zeros(50), differences])
    assert compute_sign_flip_p_value(padded) == compute_sign_flip_p_value(differences)
    assert compute_sign_flip_p_value(np.zeros(5)) == 1
