"""What test images tell of an accuracy, and of a difference: images of one group stand or fall
together, and each seed is another training.

Groups are patients, or photographed fields, or single images where no groups are known. All here
works on counts of images by group and seed, so a study of any size fits in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.special import stdtrit
from statsmodels.stats.proportion import proportion_confint

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2

Array = NDArray[np.float64]
Reach = Callable[[float], float]  # a level of error to half the width of an interval


@dataclass(frozen=True)
class Counts:
    """Of one config: test images by group and seed, each array of shape (groups, seeds)."""

    right: Array
    tested: Array

    @property
    def by_seed(self) -> Array:
        """Accuracy of each seed, 0 to 1."""
        share: Array = self.right.sum(axis=0) / self.tested.sum(axis=0)
        return share


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its interval; accuracies 0 to 1, differences -1 to 1."""

    value: float
    low: float
    high: float
    p: float = float("nan")  # of no difference, two-sided


def accuracy(counts: Counts) -> Estimate:
    """The mean accuracy over the seeds with its interval.

    Wilson's interval (1927) at the effective number of images: as many independent ones as have
    the spread found between groups and seeds (Korn and Graubard 1998, with Wilson's interval for
    Clopper's). Of single images and one seed it is Wilson's own. Where nothing varies, as with no
    image wrong, each group counts once, the larger ones for more.
    """
    value, reach = float(counts.by_seed.mean()), _reach(counts)(1 - LEVEL)
    binomial = value * (1 - value)
    if reach > 0 and binomial > 0:
        images = min(binomial * (ndtri(TAIL) / reach) ** 2, counts.tested.sum())
    else:
        images = _groups(counts.tested)
    low, high = proportion_confint(value * images, images, 1 - LEVEL, method="wilson")
    return Estimate(value, float(low), float(high))


def difference(one: Counts, base: Counts) -> Estimate:
    """How much more accurate one config is than another on the same images and seeds.

    Student's t, paired. Where no image tells the two apart, the interval is what as many groups
    without a difference leave open; where all groups show the same one, nothing is claimed.

    Args:
        one: of the same groups, in the same order, and the same seeds as `base`.
        base: what to compare with; its `tested` equals that of `one`.
    """
    pairs = Counts(one.right - base.right, base.tested)
    value, reach = float(pairs.by_seed.mean()), _reach(pairs)
    half = reach(1 - LEVEL)
    if half == 0:
        half = 1.0 if value else 1 - TAIL ** (1 / _groups(base.tested))
        return Estimate(value, -half, half, 1.0)
    return Estimate(value, max(value - half, -1.0), min(value + half, 1.0), _p(value, reach))


def _p(value: float, reach: Reach) -> float:
    """The level at which the interval just excludes no difference."""
    tiny = 1e-12
    if reach(tiny) <= abs(value):
        return tiny
    if reach(1 - tiny) >= abs(value):
        return 1.0
    return float(brentq(lambda alpha: reach(alpha) - abs(value), tiny, 1 - tiny))


def chance_to_win(one: Counts, base: Counts) -> Estimate:
    """The probability that one training of a config beats one of another (Bouthillier et al. 2021).

    The share of seeds in which it does, ties counted half, with Wilson's interval; their bootstrap
    would call any five wins in five a certainty.
    """
    gains = one.by_seed - base.by_seed
    wins = float((gains > 0).sum() + 0.5 * (gains == 0).sum())
    low, high = proportion_confint(wins, len(gains), 1 - LEVEL, method="wilson")
    return Estimate(wins / len(gains), float(low), float(high))


def _reach(counts: Counts) -> Reach:
    """Half the width of the interval of a mean over seeds, for each level of error.

    Of one seed: Student's t, with the jackknife's variance over groups, and Satterthwaite's degrees
    of freedom as if the images of a group were all alike, for then uneven groups are worth the
    fewest. Of several, squared: the groups' part, plus what the variance between seeds exceeds
    that which their groups explain (as in an analysis of variance of crossed random effects), with
    one degree of freedom less than there are seeds; at least what the seeds alone would give.
    """
    counts = _without_empty(counts)
    groups, seeds = counts.tested.shape
    if groups < 2:
        return lambda _: 0.0
    weight = counts.tested.sum(axis=1) ** 2
    own, freedom = _jackknife(counts), max(weight.sum() ** 2 / (weight**2).sum() - 1, 1.0)
    seen = float(counts.by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    beyond = max(seen - _explained(counts) / seeds, 0.0) if seeds > 1 else 0.0

    def reach(alpha: float) -> float:
        of_groups = stdtrit(freedom, alpha / 2) ** 2 * own
        of_seeds = stdtrit(seeds - 1, alpha / 2) ** 2 if seeds > 1 else 0.0
        return float(np.sqrt(max(of_groups + of_seeds * beyond, of_seeds * seen)))

    return reach


def _without_empty(counts: Counts) -> Counts:
    there = counts.tested.any(axis=1)
    return Counts(counts.right[there], counts.tested[there])


def _jackknife(counts: Counts) -> float:
    """The variance of the mean over seeds, from leaving out one group after the other."""
    left_right = counts.right.sum(axis=0) - counts.right
    left_tested = counts.tested.sum(axis=0) - counts.tested
    # a seed that tests a single group has no value without it: its own stands in
    shares = np.divide(left_right, left_tested,
                       out=np.broadcast_to(counts.by_seed, left_right.shape).copy(),
                       where=left_tested > 0)  # fmt: skip
    means = shares.mean(axis=1)
    groups = len(means)
    return float((groups - 1) / groups * ((means - means.mean()) ** 2).sum())


def _explained(counts: Counts) -> float:
    """The variance between seeds' means that comes from the groups that each tests."""
    groups, seeds = counts.tested.shape
    pull = (counts.right - counts.by_seed * counts.tested) / counts.tested.sum(axis=0)
    alone = pull - pull.mean(axis=1, keepdims=True)
    return float(groups / (groups - 1) * (alone**2).sum() / (seeds - 1))


def _groups(tested: Array) -> float:
    """How many groups of equal size weigh as much as these (Kish's effective number)."""
    sizes = tested.sum(axis=1)
    return float(sizes.sum() ** 2 / (sizes**2).sum())
