"""The smallest difference that a study can find, and what finds a smaller one.

The power is that of the noncentral t with Satterthwaite's degrees of freedom, for a mean over two
crossed random factors, groups and seeds (Westfall, Kenny and Judd 2014).
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from scipy.special import nctdtrinc
from scipy.special import pdtri
from scipy.special import stdtrit

from study.statistics.difference_variance import DifferenceVariance
from study.statistics.intervals import SIGNIFICANCE_LEVEL

POWER = 0.8  # the share of studies that find a difference of the smallest size
MOST_SEEDS = 10_000  # what takes more counts as never found
MOST_TIMES_GROUPS = 10_000


@dataclass(frozen=True)
class Power:
    """The smallest difference that a comparison can detect.

    With it, the seeds or groups needed to detect the observed one.

    smallest: the smallest difference, 0 to 1, that four of five such studies would find. It is
        infinite if there are too few groups to find any.
    groups, seeds: how many there are.
    groups_needed: how many groups would find the difference seen, with the same seeds. None if
        there is no such number.
    seeds_needed: how many seeds would, with the same groups. None if there is no such number, or
        if there is one seed, because how much seeds matter is then not known.
    """

    smallest: float
    groups: int
    seeds: int
    groups_needed: int | None
    seeds_needed: int | None


def compute_power(
    variance: DifferenceVariance, difference: float, level: float = SIGNIFICANCE_LEVEL
) -> Power:
    """Compute the smallest difference that a comparison can detect.

    Also compute the seeds or groups needed to detect the observed one.

    Args:
        variance: of the comparison.
        difference: the one that was seen.
        level: the largest p-value, two-sided, that counts as found.
    """

    def count_needed(change: Callable[[int], DifferenceVariance], counts: range) -> int | None:
        def finds(count: int) -> bool:
            return find_smallest_difference(change(count), level) <= abs(difference)

        index = bisect_left(counts, True, key=finds)
        return counts[index] if index < len(counts) else None

    groups = range(2, MOST_TIMES_GROUPS * variance.group_count)
    seeds = range(2, MOST_SEEDS) if variance.seed_count > 1 else range(0)
    return Power(
        smallest=find_smallest_difference(variance, level),
        groups=variance.group_count,
        seeds=variance.seed_count,
        groups_needed=count_needed(variance.with_groups, groups),
        seeds_needed=count_needed(variance.with_seeds, seeds),
    )


def find_smallest_difference(
    variance: DifferenceVariance, level: float = SIGNIFICANCE_LEVEL
) -> float:
    """Find the smallest difference, 0 to 1, that a study finds with power `POWER`.

    Like the p-value of `estimate_difference`, it has to satisfy the groups alone, the seeds alone,
    and both together. With one seed, it is a difference between these two trainings.
    """
    group_variance = variance.groups + variance.interaction
    smallest = max(
        _find_smallest_by_signs(variance, level),
        _find_smallest_by_t(group_variance, variance.group_freedom, level),
    )
    seeds = variance.seed_variance
    if seeds.total > 0:
        freedom = float(seeds.count_freedom(group_variance, variance.group_freedom))
        smallest = max(
            smallest,
            _find_smallest_by_t(seeds.total, seeds.freedom, level),
            _find_smallest_by_t(group_variance + seeds.unexplained, freedom, level),
        )
    return smallest if smallest <= 1 else math.inf


def _find_smallest_by_t(variance: float, freedom: float, level: float) -> float:
    critical = -stdtrit(freedom, level / 2)
    return float(nctdtrinc(freedom, 1 - POWER, critical) * math.sqrt(variance))


def _find_smallest_by_signs(variance: DifferenceVariance, level: float) -> float:
    """Find the smallest difference that enough groups show.

    In the test by random signs, n groups that all favor one config have p = 1 / 2**n. Groups that
    differ are rare where this matters, so their number is taken as Poisson distributed.
    """
    fewest = math.floor(-math.log2(level)) + 1
    if variance.group_count < fewest:
        return math.inf
    return float(pdtri(fewest - 1, 1 - POWER)) * variance.step
