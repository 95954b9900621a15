"""Cluster-robust intervals and paired tests for the accuracy on test images.

The images of one group are not independent, and each seed is another training. Groups are patients,
or photographed fields, or single images where no groups are known. Every function works on counts
of images by group and seed, so a study of any size fits in memory.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc
from scipy.special import ndtri
from scipy.special import stdtr
from scipy.special import stdtrit
from statsmodels.stats.proportion import proportion_confint

from study.statistics.counts import Array
from study.statistics.counts import Counts
from study.statistics.group_correlation import EffectiveImages
from study.statistics.group_correlation import estimate_effective_images
from study.statistics.sign_flips import compute_sign_flip_p_value
from study.statistics.variance import compute_group_variance
from study.statistics.variance import count_group_freedom
from study.statistics.variance import estimate_gain_variance
from study.statistics.variance import estimate_seed_variance
from study.statistics.variance import SeedVariance

CONFIDENCE_LEVEL = 0.95
TAIL = (1 - CONFIDENCE_LEVEL) / 2
SIGNIFICANCE_LEVEL = 1 - CONFIDENCE_LEVEL
QUANTILE_TOLERANCE = 1e-7
SMALLEST_WIDTH = 1e-12  # below it, a width is a rounding error


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

    The interval is Jeffreys' at an effective number of images: the number of independent images
    that would give the mean the same variance between groups and seeds (Franco et al. 2019). How
    much the images of a group depend on each other is not known exactly, so the interval averages
    over what the answers leave possible. It is at least as wide as Student's t over the seeds
    alone, and cut off at 0 and 1. For single images and one seed it is Jeffreys' own, which ends at
    1 if all answers are right and at 0 if none is (Brown, Cai and DasGupta 2001).
    """
    counts = counts.drop_empty_groups()
    value = float(counts.accuracy_by_seed.mean())
    seeds = estimate_seed_variance(counts)
    effective = estimate_effective_images(counts)
    images = _include_seeds(effective.images, value, seeds)
    effective = EffectiveImages(images, effective.probabilities)
    low = _find_quantile(value, effective, TAIL) if value > 0 else 0.0
    high = _find_quantile(value, effective, 1 - TAIL) if value < 1 else 1.0
    return _stretch(Estimate(value, low, high), 2 * _compute_seed_half_width(seeds))


def _stretch(accuracy: Estimate, width: float) -> Estimate:
    """Stretch an accuracy's interval to at least a width, and cut it off at 0 and 1."""
    factor = width / (accuracy.high - accuracy.low)
    if factor <= 1:
        return accuracy
    low = accuracy.value - factor * (accuracy.value - accuracy.low)
    high = accuracy.value + factor * (accuracy.high - accuracy.value)
    return Estimate(accuracy.value, max(low, 0.0), min(high, 1.0))


def _compute_seed_half_width(seeds: SeedVariance) -> float:
    """Compute half the width of Student's interval over the seeds alone.

    Two seeds of nearly the same accuracy seem to add nothing to the variance of the groups. That
    may be chance, and only this width allows for it.
    """
    if seeds.total == 0:
        return 0.0
    return float(-stdtrit(seeds.freedom, TAIL) * np.sqrt(seeds.total))


def _include_seeds(images: Array, accuracy: float, seeds: SeedVariance) -> Array:
    """Lower effective numbers of images by the variance that the seeds add."""
    binomial_variance = accuracy * (1 - accuracy)
    if seeds.unexplained == 0 or binomial_variance == 0:
        return images
    group_variance = binomial_variance / images
    # With few seeds, lower the number further, so that the interval is as wide as Student's t.
    widening = ndtri(TAIL) / stdtrit(seeds.count_freedom(group_variance), TAIL)
    lowered: Array = binomial_variance / (group_variance + seeds.unexplained) * widening**2
    return lowered


def _find_quantile(accuracy: float, effective: EffectiveImages, probability: float) -> float:
    """Find a quantile of the posterior distribution of the accuracy."""
    right = accuracy * effective.images + 0.5
    wrong = (1 - accuracy) * effective.images + 0.5

    def miss(quantile: float) -> float:
        return float(effective.probabilities @ betainc(right, wrong, quantile)) - probability

    return float(brentq(miss, 0.0, 1.0, xtol=QUANTILE_TOLERANCE))


def estimate_difference(one: Counts, base: Counts) -> Estimate:
    """Estimate how much more accurate one config is than another.

    Both are tested on the same images and seeds. The p-value is that of a randomization test over
    groups, with the variance between seeds added, and at least that of Student's t over the seeds
    alone. Seeds that gain exactly the same are taken to differ by a rounding to whole images. The
    interval is Student's t. If it and the p-value disagree about zero, it is the interval that
    follows from the p-value (Miettinen 1976). If no image distinguishes the two, the interval holds
    the differences that this many groups may fail to show. A single group shows nothing: its
    interval reaches from -1 to 1, and p is 1.

    Args:
        one: of the same groups, in the same order, and the same seeds as `base`.
        base: what to compare with; its `tested` equals that of `one`.
    """
    pairs = one.subtract(base)
    value = float(pairs.accuracy_by_seed.mean())
    if len(pairs.tested) < 2:
        return Estimate(value, -1.0, 1.0, 1.0)
    seeds = estimate_seed_variance(pairs)
    p = _compute_p_value(value, pairs, estimate_gain_variance(pairs))
    half_width = _compute_half_width(pairs, seeds)
    groups_agree = half_width < SMALLEST_WIDTH
    if groups_agree and value == 0:
        half_width = 1 - TAIL ** (1 / _count_effective_groups(pairs.tested))
    elif groups_agree or (half_width < abs(value)) != (p < SIGNIFICANCE_LEVEL):
        half_width = abs(value) * float(ndtri(TAIL) / ndtri(p / 2))
    low = max(value - half_width, -1.0)
    high = min(value + half_width, 1.0)
    return Estimate(value, low, high, p)


def _compute_p_value(value: float, pairs: Counts, seeds: SeedVariance) -> float:
    """Compute the p-value of a mean difference, from its groups and seeds."""
    if value == 0:
        return 1.0
    groups_p = compute_sign_flip_p_value((pairs.right / pairs.tested.sum(axis=0)).mean(axis=1))
    if seeds.freedom == 0 or groups_p == 1:
        return groups_p
    p = max(groups_p, float(2 * stdtr(seeds.freedom, -abs(value) / np.sqrt(seeds.total))))
    if seeds.unexplained == 0:
        return p
    # The variance with which a normal test of the groups alone has this p-value
    group_variance = (value / ndtri(groups_p / 2)) ** 2
    variance = group_variance + seeds.unexplained
    both = stdtr(seeds.count_freedom(group_variance), -abs(value) / np.sqrt(variance))
    return max(p, float(2 * both))


def _compute_half_width(pairs: Counts, seeds: SeedVariance) -> float:
    """Compute half the width of Student's interval of a mean difference."""
    group_variance = compute_group_variance(pairs)
    variance = group_variance + seeds.unexplained
    if variance == 0:
        return 0.0
    freedom = seeds.count_freedom(group_variance, count_group_freedom(pairs.tested))
    half_width = float(-stdtrit(freedom, TAIL) * np.sqrt(variance))
    return max(half_width, _compute_seed_half_width(seeds))


def estimate_chance_to_win(one: Counts, base: Counts) -> Estimate:
    """Estimate the probability that one training of a config beats one of another.

    This is the share of seeds in which it does, with ties counted half (Bouthillier et al. 2021).
    The interval is Wilson's, because their bootstrap would call any five wins in five a certainty.
    """
    gains = one.accuracy_by_seed - base.accuracy_by_seed
    wins = float((gains > 0).sum() + 0.5 * (gains == 0).sum())
    low, high = proportion_confint(wins, len(gains), 1 - CONFIDENCE_LEVEL, method="wilson")
    return Estimate(wins / len(gains), float(low), float(high))


def _count_effective_groups(tested: Array) -> float:
    """Return how many groups of equal size weigh as much (Kish's effective number)."""
    sizes = tested.sum(axis=1)
    return float(sizes.sum() ** 2 / (sizes**2).sum())
