"""Paired test of a cross-validation, whose trainings share most of their images.

The corrected resampled t-test of Nadeau and Bengio (2003, *Machine Learning* 52, 239), for folds as
in Bouckaert and Frank (2004, *PAKDD*). Two trainings of five folds have three quarters of their
images in common, so their test accuracies vary together, and the plain t-test over folds takes them
for more evidence than they are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr
from scipy.special import stdtrit

from study.statistics.counts import Array
from study.statistics.intervals import Estimate
from study.statistics.intervals import TAIL
from study.statistics.ties import TOLERANCE


@dataclass(frozen=True)
class FoldGains:
    """Accuracy gains of one config over another in each training.

    The trainings are those of a cross-validation.

    gains: the difference in accuracy, -1 to 1, on the test images of each fold and seed.
    weights: the share of each in the mean difference. They sum to 1.
    test_ratio: the number of test images of a fold, divided by that of its training images.
    """

    gains: Array
    weights: Array
    test_ratio: float


def estimate_fold_difference(folds: FoldGains) -> Estimate:
    """Estimate the mean difference of a cross-validation, of one seed or several.

    The variance of the mean over J trainings is (1 / J + test_ratio) times that between trainings,
    and Student's t has J - 1 degrees of freedom. Where folds differ in size, J is Kish's effective
    number. If all trainings differ by the same amount, for instance by none, there is no spread to
    judge by: the interval then reaches from -1 to 1, and p is 1.
    """
    value = float(folds.weights @ folds.gains)
    if np.ptp(folds.gains) < TOLERANCE:  # a rounding error
        return Estimate(value, -1.0, 1.0, 1.0)
    concentration = float((folds.weights**2).sum())
    spread = float(folds.weights @ (folds.gains - value) ** 2) / (1 - concentration)
    freedom = 1 / concentration - 1
    error = float(np.sqrt((concentration + folds.test_ratio) * spread))
    half_width = -float(stdtrit(freedom, TAIL)) * error
    p = 2 * float(stdtr(freedom, -abs(value) / error))
    return Estimate(value, max(value - half_width, -1.0), min(value + half_width, 1.0), p)
