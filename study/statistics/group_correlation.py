"""How strongly the answers of one group depend on each other."""

from dataclasses import dataclass

import numpy as np
from scipy.special import roots_jacobi
from scipy.stats import betabinom

from study.statistics.counts import Array
from study.statistics.counts import Counts

# Prior of the correlation within a group: Beta(2, 1/2), of mean 0.8. With few groups, a study
# cannot tell a weak correlation from a strong one, and the strong one is the cautious guess: it
# leaves fewer images.
PRIOR_SHAPE = (2.0, 0.5)
NODES = 64
NEGLIGIBLE = 1e-6  # of the largest probability


def _make_correlations() -> tuple[Array, Array]:
    """Return correlations, and their prior probabilities (Gauss-Jacobi quadrature)."""
    low_power, high_power = (shape - 1 for shape in PRIOR_SHAPE)
    nodes, weights = roots_jacobi(NODES, high_power, low_power)
    return (nodes + 1) / 2, weights / weights.sum()


CORRELATIONS, PRIOR = _make_correlations()


@dataclass(frozen=True)
class EffectiveImages:
    """Possible effective numbers of images, with their probabilities.

    Arrays of one length, an element for each possible correlation within groups.
    """

    images: Array
    probabilities: Array


def estimate_effective_images(counts: Counts) -> EffectiveImages:
    """Estimate how many independent images a study's test images are worth.

    The right answers of a group are taken as beta-binomial (Williams 1975). An image that several
    seeds tested counts once for each, and is in the same group each time. The posterior probability
    of each correlation takes the accuracy as observed, and allows for its uncertainty by Laplace's
    approximation.

    Args:
        counts: without empty groups.
    """
    accuracy = float(counts.accuracy_by_seed.mean())
    tested = counts.tested.sum(axis=1)
    # Var(mean) = p (1 - p) / images: an image of a group of n has 1 + (n - 1) * correlation of
    # the variance that an independent one has (Kish's design effect).
    group_variances = CORRELATIONS + (1 - CORRELATIONS) / tested[:, None]
    images = 1 / (counts.group_weights**2 @ group_variances)
    # With the half right and half wrong answer of Jeffreys' prior, so that 0 < center < 1
    center = (accuracy * images + 0.5) / (images + 1)
    log_likelihood = _compute_log_likelihood(counts.right.sum(axis=1), tested, center)
    log_posterior = log_likelihood - 0.5 * np.log(images)
    posterior = PRIOR * np.exp(log_posterior - log_posterior.max())
    matters = posterior > NEGLIGIBLE * posterior.max()
    return EffectiveImages(images[matters], posterior[matters] / posterior[matters].sum())


def _compute_log_likelihood(right: Array, tested: Array, accuracies: Array) -> Array:
    """Compute the log-likelihood of each correlation with its accuracy."""
    # Most groups are like others, so each kind is worked out once.
    kinds, repeats = np.unique(np.stack([right, tested]), axis=1, return_counts=True)
    strength = (1 - CORRELATIONS) / CORRELATIONS
    log_probabilities = betabinom.logpmf(
        kinds[0][:, None], kinds[1][:, None], accuracies * strength, (1 - accuracies) * strength
    )
    log_likelihood: Array = repeats @ log_probabilities
    return log_likelihood
