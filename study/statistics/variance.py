"""Variance of a mean over test groups and seeds, two crossed random effects."""

from dataclasses import dataclass
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from study.statistics.counts import Array
from study.statistics.counts import Counts


@dataclass(frozen=True)
class SeedVariance:
    """How much the choice of seeds adds to the variance of a mean over these seeds.

    total: the variance of the mean as the spread between seeds alone shows it.
    unexplained: the part of it that the groups do not explain.
    freedom: the degrees of freedom of `total`, one less than there are seeds.
    """

    total: float = 0.0
    unexplained: float = 0.0
    freedom: int = 0

    def count_freedom(self, group_variance: ArrayLike, group_freedom: float = np.inf) -> Array:
        """Count Satterthwaite's degrees of freedom of a variance of groups and seeds.

        The variance is `group_variance + unexplained`.

        Args:
            group_variance: one or several.
            group_freedom: its degrees of freedom. Infinite if it is taken as known.
        """
        group_variances = np.asarray(group_variance, dtype=float)
        if self.unexplained == 0:
            return np.full_like(group_variances, group_freedom)
        uncertainties = group_variances**2 / group_freedom + self.total**2 / self.freedom
        freedom = (group_variances + self.unexplained) ** 2 / uncertainties
        return cast(Array, np.maximum(freedom, 1.0))


def estimate_seed_variance(counts: Counts) -> SeedVariance:
    """Estimate what the seeds add to the variance of the mean accuracy.

    The unexplained part is the variance between seeds beyond what their answers on single groups
    explain, as in an analysis of variance with crossed random effects.
    """
    groups, seeds = counts.tested.shape
    if seeds < 2:
        return SeedVariance()
    freedom = seeds - 1
    total = float(counts.accuracy_by_seed.var(ddof=1)) / seeds
    explained = _compute_explained_variance(counts) / seeds if groups > 1 else 0.0
    return SeedVariance(total, max(total - explained, 0.0), freedom)


def estimate_gain_variance(gains: Counts) -> SeedVariance:
    """Estimate what the seeds add to the variance of the mean gain of one config over another.

    Whole images cannot show a spread between seeds that is smaller than one image, so the total is
    at least the variance of rounding to whole images (Sheppard's, a twelfth of the squared step).
    Without it, two seeds that happen to gain the same would count for a certainty.

    Args:
        gains: how many more answers are right, as `Counts.subtract` returns them.
    """
    seeds = estimate_seed_variance(gains)
    if seeds.freedom == 0:
        return seeds
    steps = 1 / gains.tested.sum(axis=0)
    rounding = float((steps**2).mean()) / 12 / len(steps)
    return replace(seeds, total=max(seeds.total, rounding))


def _compute_explained_variance(counts: Counts) -> float:
    """Compute the variance between seeds' means that comes from the groups each tests."""
    groups, seeds = counts.tested.shape
    # How far each group moves the mean of each seed
    influences = (counts.right - counts.accuracy_by_seed * counts.tested) / counts.tested.sum(
        axis=0
    )
    interactions = influences - influences.mean(axis=1, keepdims=True)
    return float(groups / (groups - 1) * (interactions**2).sum() / (seeds - 1))


def compute_group_variance(counts: Counts) -> float:
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


def count_group_freedom(tested: Array) -> float:
    """Count the degrees of freedom of the variance between groups.

    A group weighs as much as it has images, as if these were all alike. This is the cautious
    choice: uneven groups then have the fewest degrees of freedom.
    """
    squares = tested.sum(axis=1) ** 2
    return float(max(squares.sum() ** 2 / (squares**2).sum() - 1, 1.0))
