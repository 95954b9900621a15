"""Studies whose truth is known: test images by group and seed, with effects of every kind."""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv
from scipy.special import expit
from scipy.special import ndtr

from study.statistics.counts import Counts

# Of blood's official test set: 71 originals behind 2,487 images, those of monocytes 155 each
BLOOD = np.repeat([155, 13, 48, 103], [4, 48, 13, 6])


@dataclass(frozen=True)
class Study:
    """Accuracies on the logit scale: a mean, and standard deviations of what moves them.

    `group` moves all configs alike, `taste` each config by group, `seed` each training, `noise`
    each training by group.
    """

    sizes: np.ndarray  # test images of each group
    seeds: int = 1
    mean: float = 2.0
    group: float = 1.0
    taste: float = 0.3
    seed: float = 0.3
    noise: float = 0.3
    shared: bool = True  # one test set for all seeds; else a fifth of the groups, at random

    def draw(self, rng: np.random.Generator, gains: tuple[float, ...] = (0.0,)) -> list[Counts]:
        """One config for each gain."""
        groups, seeds, configs = len(self.sizes), self.seeds, len(gains)
        logit = (
            self.mean
            + np.array(gains)
            + rng.normal(0, self.group, (groups, 1, 1))
            + rng.normal(0, self.taste, (groups, 1, configs))
            + (rng.normal(0, self.seed, (1, seeds, configs)) if seeds > 1 else 0.0)
            + rng.normal(0, self.noise, (groups, seeds, configs))
        )
        tested = np.repeat(self.sizes[:, None], seeds, axis=1)
        if not self.shared:
            order = rng.permuted(np.tile(np.arange(groups)[:, None], seeds), axis=0)
            tested = tested * (order < groups // 5)
        right = rng.binomial(tested[:, :, None], expit(logit)).astype(float)
        return [Counts(right[:, :, i], tested.astype(float)) for i in range(configs)]

    def accuracy(self) -> float:
        """The true one, of a config without gain."""
        seed = self.seed if self.seeds > 1 else 0.0
        spread = np.sqrt(self.group**2 + self.taste**2 + seed**2 + self.noise**2)
        points, weights = np.polynomial.hermite_e.hermegauss(80)
        return float(weights @ expit(self.mean + spread * points) / weights.sum())


@dataclass(frozen=True)
class CorrelatedStudy:
    """A study whose images of one group stand or fall together, to a known degree.

    The chance of a group's images to be right is beta distributed, and their number beta-binomial.

    accuracy: the true one.
    correlation: between images of a group, 0 to 1.
    own: how much of a group's chance each config and each training has for itself, 0 to 1. The
        rest is shared.
    """

    sizes: np.ndarray  # test images of each group
    accuracy: float
    correlation: float
    seeds: int = 1
    own: float = 0.0

    def draw(self, rng: np.random.Generator, configs: int = 1, gain: float = 0.0) -> list[Counts]:
        """Draw the answers of configs, each more accurate by `gain` than the one before."""
        groups = len(self.sizes)
        shared = rng.normal(size=(groups, 1, 1))
        own = rng.normal(size=(groups, self.seeds, configs))
        ranks = ndtr(np.sqrt(1 - self.own) * shared + np.sqrt(self.own) * own)
        strength = (1 - self.correlation) / self.correlation
        accuracies = self.accuracy + gain * np.arange(configs)
        chances = betaincinv(accuracies * strength, (1 - accuracies) * strength, ranks)
        right = rng.binomial(self.sizes[:, None, None], chances).astype(float)
        tested = np.repeat(self.sizes[:, None], self.seeds, axis=1).astype(float)
        return [Counts(right[:, :, config], tested) for config in range(configs)]
