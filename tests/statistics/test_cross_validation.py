"""The paired test of a cross-validation, against its formula and on simulated studies."""

import numpy as np
import pytest
from scipy import stats

from study.statistics.cross_validation import estimate_fold_difference
from study.statistics.cross_validation import FoldGains
from study.statistics.intervals import Estimate

FOLDS = 5
IMAGES = 200
FEATURES = 10  # of each of two classifiers that are equal but see different ones
STUDIES = 300


def test_equal_folds_give_the_published_formula() -> None:
    gains = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    found = estimate_fold_difference(FoldGains(gains, np.full(FOLDS, 1 / FOLDS), 1 / 4))
    error = np.sqrt((1 / FOLDS + 1 / 4) * gains.var(ddof=1))
    half_width = stats.t.isf(0.025, FOLDS - 1) * error
    assert found.value == pytest.approx(gains.mean())
    assert found.p == pytest.approx(2 * stats.t.sf(gains.mean() / error, FOLDS - 1))
    assert (found.low, found.high) == pytest.approx(
        (gains.mean() - half_width, gains.mean() + half_width)
    )


@pytest.mark.parametrize("gain", [0.25, 0.1])  # the mean of the second is off by a rounding
def test_equal_gains_of_all_folds_show_nothing(gain: float) -> None:
    folds = FoldGains(np.full(FOLDS, gain), np.full(FOLDS, 1 / FOLDS), 1 / 4)
    estimate = estimate_fold_difference(folds)
    assert estimate == Estimate(pytest.approx(gain), -1.0, 1.0, 1.0)


@pytest.mark.parametrize(("spread", "is_equal"), [(0.9e-6, True), (1.1e-6, False)])
def test_gains_that_differ_by_less_than_an_image_of_a_million_are_equal(
    spread: float, is_equal: bool
) -> None:
    """So are accuracies elsewhere, such as those that tie for the best."""
    gains = 0.1 + spread * np.array([0, 0.5, 1, 0.5, 0])
    estimate = estimate_fold_difference(FoldGains(gains, np.full(FOLDS, 1 / FOLDS), 1 / 4))
    assert (estimate.p == 1.0) == is_equal
    assert (estimate.high - estimate.low == 2.0) == is_equal


def draw_gains(rng: np.random.Generator) -> np.ndarray:
    """Cross-validate two linear classifiers, each on features of its own, equally good."""
    labels = rng.integers(0, 2, IMAGES)
    folds = rng.permutation(IMAGES) % FOLDS
    right = []
    for _ in range(2):
        features = 0.4 * labels[:, None] + rng.normal(size=(IMAGES, FEATURES))
        answers = np.empty(IMAGES)
        for fold in range(FOLDS):
            test = folds == fold
            ones, zeros = (features[~test & (labels == label)].mean(axis=0) for label in (1, 0))
            scores = (features[test] - (ones + zeros) / 2) @ (ones - zeros)
            answers[test] = (scores > 0) == labels[test]
        right.append(answers)
    gains = right[0] - right[1]
    return np.array([gains[folds == fold].mean() for fold in range(FOLDS)])


def test_corrected_test_raises_at_most_5_percent_false_alarms_and_the_plain_one_more() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_gains(rng) for _ in range(STUDIES)]
    weights = np.full(FOLDS, 1 / FOLDS)
    corrected = [estimate_fold_difference(FoldGains(gains, weights, 1 / 4)).p for gains in drawn]
    plain = [stats.ttest_1samp(gains, 0).pvalue for gains in drawn]
    assert np.mean(np.array(corrected) < 0.05) <= 0.05
    assert np.mean(np.array(plain) < 0.05) > np.mean(np.array(corrected) < 0.05)
