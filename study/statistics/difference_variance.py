"""Parts of the variance of a mean difference, for any numbers of groups and seeds.

A paired difference is a mean over two crossed random factors, test groups and seeds. Its variance
has a part of the groups, one of the seeds and one of both together (Westfall, Kenny and Judd 2014).
"""

from collections.abc import Sequence
from dataclasses import astuple
from dataclasses import dataclass
from dataclasses import replace

import numpy as np

from study.statistics.counts import Counts
from study.statistics.variance import compute_group_variance
from study.statistics.variance import count_group_freedom
from study.statistics.variance import estimate_gain_variance
from study.statistics.variance import SeedVariance


@dataclass(frozen=True)
class DifferenceVariance:
    """Parts of the variance of a mean difference in accuracy, 0 to 1.

    groups: the part that more groups lower, and more seeds do not.
    interaction: the part that more groups and more seeds both lower: how each training happens to
        do on each group.
    seeds: the part that more seeds lower, and more groups do not. With one seed, this part is not
        known, and that of the interaction counts with the groups.
    group_count, seed_count: how many there are.
    group_freedom: the degrees of freedom of the groups' part.
    step: how far a group that distinguishes the configs moves the mean difference.
    """

    groups: float
    interaction: float
    seeds: float
    group_count: int
    seed_count: int
    group_freedom: float
    step: float = 0.0

    @property
    def seed_variance(self) -> SeedVariance:
        """Return what the seeds add, in whole and beyond the groups."""
        if self.seed_count < 2:
            return SeedVariance()
        return SeedVariance(self.interaction + self.seeds, self.seeds, self.seed_count - 1)

    def with_seeds(self, count: int) -> "DifferenceVariance":
        """Return what another number of seeds would leave."""
        factor = self.seed_count / count
        return replace(
            self,
            interaction=self.interaction * factor,
            seeds=self.seeds * factor,
            seed_count=count,
        )

    def with_groups(self, count: int) -> "DifferenceVariance":
        """Return what another number of groups like these would leave."""
        factor = self.group_count / count
        return replace(
            self,
            groups=self.groups * factor,
            interaction=self.interaction * factor,
            group_count=count,
            group_freedom=max((self.group_freedom + 1) / factor - 1, 1.0),
            step=self.step * factor,
        )


def estimate_difference_variance(one: Counts, base: Counts) -> DifferenceVariance | None:
    """Estimate the parts of the variance of the difference between two configs.

    Args:
        one: of the same groups and seeds as `base`.
        base: what to compare with.

    Returns:
        None if the answers tell nothing of it: there is one group, or no group distinguishes them.
    """
    pairs = one.subtract(base)
    influences = np.abs((pairs.right / pairs.tested.sum(axis=0)).mean(axis=1))
    if len(influences) < 2 or not influences.any():
        return None
    groups = compute_group_variance(pairs)
    seeds = estimate_gain_variance(pairs)
    interaction = min(seeds.total - seeds.unexplained, groups)
    return DifferenceVariance(
        groups=groups - interaction,
        interaction=interaction,
        seeds=seeds.unexplained,
        group_count=len(influences),
        seed_count=pairs.tested.shape[1],
        group_freedom=count_group_freedom(pairs.tested),
        step=float(influences[influences > 0].mean()),
    )


def average_variances(variances: Sequence[DifferenceVariance]) -> DifferenceVariance:
    """Average the variances of several comparisons, each scaled to one seed.

    Comparisons of one seed count only if all are, because they do not show what the seeds add.
    """
    informative = [variance for variance in variances if variance.seed_count > 1] or variances
    parts = [astuple(variance.with_seeds(1)) for variance in informative]
    groups, interaction, seeds, count, _, freedom, step = np.mean(parts, axis=0).tolist()
    return DifferenceVariance(groups, interaction, seeds, round(count), 1, freedom, step)


def assume_variance(
    accuracy: float, images: int, groups: int, correlation: float, agreement: float
) -> DifferenceVariance:
    """Return the variance of a difference with one seed and groups of equal size.

    Args:
        accuracy: of both, 0 to 1.
        images: in the test set.
        groups: in the test set.
        correlation: between the answers to two images of a group, 0 to 1.
        agreement: the correlation between the two configs' answers to an image, 0 to 1.
    """
    design_effect = 1 + (images / groups - 1) * correlation  # Kish 1965
    accuracy_variance = accuracy * (1 - accuracy) * design_effect / images
    return DifferenceVariance(
        groups=2 * (1 - agreement) * accuracy_variance,
        interaction=0.0,
        seeds=0.0,
        group_count=groups,
        seed_count=1,
        group_freedom=groups - 1,
        step=1 / images,
    )


def assume_seeds(variance: DifferenceVariance, deviation: float) -> DifferenceVariance:
    """Return a variance of one seed with the seeds' part that an assumption gives.

    Args:
        variance: of one seed.
        deviation: the standard deviation of a config's accuracy between seeds, 0 to 1. Two configs
            are taken to vary independently.
    """
    return replace(variance, seeds=max(2 * deviation**2 - variance.interaction, 0.0))
