"""Cluster-robust intervals and paired tests for the accuracy on test images.

The images of one group are not independent, and each seed is another training. Groups are patients,
or photographed fields, or single images where no groups are known. Every function works on counts
of images by group and seed, so a study of any size fits in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.special import stdtrit
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE_LEVEL = 0.95
TAIL = (1 - CONFIDENCE_LEVEL) / 2

Array = NDArray[np.float64]
HalfWidth = Callable[[float], float]  # from an error level to half the width of the interval


@dataclass(frozen=True)
class Counts:
    """One config's test images by group and seed, as arrays of shape (groups, seeds)."""

    right: Array
    tested: Array

    @property
    def accuracy_by_seed(self) -> Array:
        """Return the accuracy of each seed, 0 to 1."""
        accuracies: Array = self.right.sum(axis=0) / self.tested.sum(axis=0)
        return accuracies


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its interval.

    Accuracies are 0 to 1, differences -1 to 1.
    """

    value: float
    low: float
    high: float
    p: float = float("nan")  # two-sided, for the hypothesis of no difference


def estimate_accuracy(counts: Counts) -> Estimate:
    """Estimate the mean accuracy over the seeds.

    The interval is Wilson's (1927) at an effective number of images: the number of independent
    images that would show the spread observed between groups and seeds (Korn and Graubard 1998,
    with Wilson's interval in place of Clopper's). For single images and one seed it is Wilson's
    own. Where nothing varies, for example because no image is wrong, the effective number is that
    of the groups, in which larger groups weigh more.
    """
    value = float(counts.accuracy_by_seed.mean())
    half_width = _make_half_width(counts)(1 - CONFIDENCE_LEVEL)
    binomial_variance = value * (1 - value)
    if half_width > 0 and binomial_variance > 0:
        images = min(binomial_variance * (ndtri(TAIL) / half_width) ** 2, counts.tested.sum())
    else:
        images = _count_effective_groups(counts.tested)
    low, high = proportion_confint(value * images, images, 1 - CONFIDENCE_LEVEL, method="wilson")
    return Estimate(value, float(low), float(high))


def estimate_difference(one: Counts, base: Counts) -> Estimate:
    """Estimate how much more accurate one config is than another.

    Both are tested on the same images and seeds, and compared by a paired Student's t. If no image
    distinguishes the two, the interval holds the differences that this many groups may fail to
    show. If all groups show the same difference, nothing is claimed: the interval reaches 1 to
    either side, and p is 1.

    Args:
        one: of the same groups, in the same order, and the same seeds as `base`.
        base: what to compare with; its `tested` equals that of `one`.
    """
    pairs = Counts(one.right - base.right, base.tested)
    value = float(pairs.accuracy_by_seed.mean())
    half_width_at = _make_half_width(pairs)
    half_width = half_width_at(1 - CONFIDENCE_LEVEL)
    if half_width == 0:
        half_width = 1.0 if value else 1 - TAIL ** (1 / _count_effective_groups(base.tested))
        return Estimate(value, -half_width, half_width, 1.0)
    low = max(value - half_width, -1.0)
    high = min(value + half_width, 1.0)
    return Estimate(value, low, high, _solve_p_value(value, half_width_at))


def _solve_p_value(value: float, half_width_at: HalfWidth) -> float:
    """Return the error level at which the interval just excludes zero."""
    tiny = 1e-12
    if half_width_at(tiny) <= abs(value):
        return tiny
    if half_width_at(1 - tiny) >= abs(value):
        return 1.0
    return float(brentq(lambda alpha: half_width_at(alpha) - abs(value), tiny, 1 - tiny))


def estimate_chance_to_win(one: Counts, base: Counts) -> Estimate:
    """Estimate the probability that one training of a config beats one of another.

    This is the share of seeds in which it does, with ties counted half (Bouthillier et al. 2021).
    The interval is Wilson's, because their bootstrap would call any five wins in five a certainty.
    """
    gains = one.accuracy_by_seed - base.accuracy_by_seed
    wins = float((gains > 0).sum() + 0.5 * (gains == 0).sum())
    low, high = proportion_confint(wins, len(gains), 1 - CONFIDENCE_LEVEL, method="wilson")
    return Estimate(wins / len(gains), float(low), float(high))


def _make_half_width(counts: Counts) -> HalfWidth:
    """Return a function from an error level to half the width of a mean's interval.

    The mean is that over seeds. With one seed, the half-width is Student's t with the jackknife's
    variance over groups. Its degrees of freedom are Satterthwaite's for groups whose images are
    all alike. This is the cautious choice, because uneven groups then count least.

    With several seeds, the squared half-width is a sum. Its first part is that of the groups, as
    above. Its second part is the variance between seeds beyond what their groups explain, as in an
    analysis of variance with crossed random effects, with one degree of freedom less than there are
    seeds. The half-width is at least the one that the seeds alone would give.
    """
    counts = _drop_empty_groups(counts)
    groups, seeds = counts.tested.shape
    if groups < 2:
        return lambda _: 0.0
    weights = counts.tested.sum(axis=1) ** 2
    group_variance = _jackknife_variance(counts)
    group_freedom = max(weights.sum() ** 2 / (weights**2).sum() - 1, 1.0)
    seed_variance = 0.0
    unexplained_variance = 0.0
    if seeds > 1:
        seed_variance = float(counts.accuracy_by_seed.var(ddof=1)) / seeds
        explained_variance = _compute_explained_variance(counts) / seeds
        unexplained_variance = max(seed_variance - explained_variance, 0.0)

    def half_width_at(alpha: float) -> float:
        group_part = stdtrit(group_freedom, alpha / 2) ** 2 * group_variance
        seed_factor = stdtrit(seeds - 1, alpha / 2) ** 2 if seeds > 1 else 0.0
        both_parts = group_part + seed_factor * unexplained_variance
        return float(np.sqrt(max(both_parts, seed_factor * seed_variance)))

    return half_width_at


def _drop_empty_groups(counts: Counts) -> Counts:
    """Return the counts without groups that no seed tested."""
    has_images = counts.tested.any(axis=1)
    return Counts(counts.right[has_images], counts.tested[has_images])


def _jackknife_variance(counts: Counts) -> float:
    """Compute the variance of the mean over seeds by leaving out one group at a time."""
    remaining_right = counts.right.sum(axis=0) - counts.right
    remaining_tested = counts.tested.sum(axis=0) - counts.tested
    # A seed that tests a single group has no accuracy without it, so it keeps its own.
    accuracies = np.divide(
        remaining_right,
        remaining_tested,
        out=np.broadcast_to(counts.accuracy_by_seed, remaining_right.shape).copy(),
        where=remaining_tested > 0,
    )
    means = accuracies.mean(axis=1)
    groups = len(means)
    return float((groups - 1) / groups * ((means - means.mean()) ** 2).sum())


def _compute_explained_variance(counts: Counts) -> float:
    """Compute the variance between seeds' means that comes from the groups each tests."""
    groups, seeds = counts.tested.shape
    # How far each group moves the mean of each seed
    influences = (counts.right - counts.accuracy_by_seed * counts.tested) / counts.tested.sum(
        axis=0
    )
    interactions = influences - influences.mean(axis=1, keepdims=True)
    return float(groups / (groups - 1) * (interactions**2).sum() / (seeds - 1))


def _count_effective_groups(tested: Array) -> float:
    """Return how many groups of equal size weigh as much (Kish's effective number)."""
    sizes = tested.sum(axis=1)
    return float(sizes.sum() ** 2 / (sizes**2).sum())
