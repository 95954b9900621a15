"""Fisher and Pitman's test of paired differences by random changes of their sign."""

import math
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.special import ndtr

from study.statistics.counts import Array

EXACT_GROUPS = 13  # up to so many, every change of signs is tried
RANDOM_FLIPS = 8191
NORMAL_GROUPS = 100  # from as many effective groups, the sum is normal
LARGEST_TILT = 1e5  # of differences up to 1: leaves no sign open, but of those that hardly matter


def compute_sign_flip_p_value(differences: Array) -> float:
    """Compute the two-sided p-value of a sum of independent differences.

    If two configs are equal, each difference is as likely to be positive as negative. The p-value
    is the share of all changes of signs with a larger sum, and half of those with an equal one (the
    mid-p of Lancaster 1961, exact on average where sums are few). For n differences, it is at least
    2**-n. `scipy.stats.permutation_test` does the same without that half, but takes 0.4 s for 70
    groups.

    Args:
        differences: one for each group. Zeros do not matter.
    """
    differences = differences[differences != 0]
    if len(differences) == 0:
        return 1.0
    differences = differences / np.abs(differences).max()  # so that no square is too small
    squares = differences**2
    if squares.sum() ** 2 / (squares**2).sum() >= NORMAL_GROUPS:
        return float(2 * ndtr(-abs(differences.sum()) / np.sqrt(squares.sum())))
    signs = _make_signs(len(differences))
    padded = np.pad(differences, (0, signs.shape[1] - len(differences)))
    # Not `@`: the threads of BLAS would wait for each other on a busy machine.
    sums = np.abs(np.einsum("ij,j->i", signs, padded))
    observed = abs(differences.sum())
    tolerance = 1e-9 * np.abs(differences).sum()  # sums of the same numbers in another order
    larger = np.mean(sums > observed + tolerance)
    equal = np.mean(np.abs(sums - observed) <= tolerance)
    p = float(larger + equal / 2)
    is_limit = len(differences) > EXACT_GROUPS and p < 1 / len(signs)
    return _estimate_small_p_value(np.abs(differences), observed, tolerance) if is_limit else p


def _estimate_small_p_value(sizes: Array, observed: float, tolerance: float) -> float:
    """Estimate a p-value where no random change of signs has as large a sum.

    Changes are drawn by importance sampling: each sign is tilted, so that the mean of the sums is
    the observed one (exponential tilting, Siegmund 1976, *Annals of Statistics* 4, 673). The
    estimate has a standard error of some 3 %.

    Args:
        sizes: of the differences, at most 1.
        observed: their sum, without its sign.
        tolerance: sums that differ by no more are equal.
    """

    def miss_mean(tilt: float) -> float:
        return float((sizes * np.tanh(tilt * sizes)).sum()) - observed

    tilt = LARGEST_TILT
    if miss_mean(LARGEST_TILT) > 0:
        tilt = float(brentq(miss_mean, 0.0, LARGEST_TILT))
    draws = np.random.default_rng(0).random((RANDOM_FLIPS + 1, len(sizes)))
    are_changed = draws < expit(-2 * tilt * sizes)
    sums = sizes.sum() - 2 * np.einsum("ij,j->i", are_changed, sizes)
    sums = sums[sums >= observed - tolerance]
    shares = np.where(sums > observed + tolerance, 1.0, 0.5)
    # How much more probable the changes are without the tilt: cosh(tilt * size) for each of them
    log_cosh = np.logaddexp(tilt * sizes, -tilt * sizes) - math.log(2)
    ratios = np.exp(log_cosh.sum() - tilt * sums)
    # Sums of the other sign count as well.
    return max(2 * float(shares @ ratios) / len(draws), 2.0 ** -len(sizes))


def _make_signs(count: int) -> Array:
    """Make changes of signs, as an array of shape (changes, `count` or more).

    The first changes none.
    """
    if count <= EXACT_GROUPS:
        # A change and its opposite have sums of one size, so half of the changes suffice.
        are_changed = (np.arange(2 ** (count - 1))[:, None] >> np.arange(count)) & 1
        return np.where(are_changed, -1.0, 1.0)
    return _draw_signs(2 ** math.ceil(math.log2(count)))


@lru_cache(maxsize=8)
def _draw_signs(count: int) -> Array:
    """Draw changes of signs at random, the same ones each time."""
    are_changed = np.random.default_rng(0).integers(0, 2, (RANDOM_FLIPS + 1, count))
    are_changed[0] = 0
    return np.where(are_changed, -1.0, 1.0)
