"""Parts of the variance of a difference: estimated, averaged and assumed."""

from dataclasses import replace

import numpy as np
import pytest

from study.statistics.counts import Counts
from study.statistics.difference_variance import assume_seeds
from study.statistics.difference_variance import assume_variance
from study.statistics.difference_variance import average_variances
from study.statistics.difference_variance import DifferenceVariance
from study.statistics.difference_variance import estimate_difference_variance
from tests.support.simulated import CorrelatedStudy
from tests.support.simulated import Study

PARTS = DifferenceVariance(
    groups=1e-4, interaction=4e-5, seeds=9e-5, group_count=100, seed_count=4, group_freedom=60.0
)


def test_estimated_parts_add_up_to_the_variance_between_studies() -> None:
    """The variance of 400 differences has a standard error of 7 %, and theirs an error, too."""
    study, rng = Study(np.full(80, 5), seeds=4, mean=1.0), np.random.default_rng(9)
    draws = [study.draw(rng, (0.0, 0.0)) for _ in range(400)]
    differences = [(one.accuracy_by_seed - base.accuracy_by_seed).mean() for base, one in draws]
    found = [estimate_difference_variance(one, base) for base, one in draws]
    parts = [each.groups + each.interaction + each.seeds for each in found if each]
    assert np.mean(parts) == pytest.approx(np.var(differences), rel=0.25)


def test_seeds_that_gain_the_same_have_the_variance_of_a_rounding_to_whole_images() -> None:
    tested = np.ones((40, 2))
    one = Counts(np.repeat([1.0, 0.0], [6, 34])[:, None] * tested, tested)
    found = estimate_difference_variance(one, Counts(0 * tested, tested))
    assert found is not None
    assert found.seed_variance.total == pytest.approx((1 / 40) ** 2 / 12 / 2)


def test_average_of_variances_is_that_of_one_seed() -> None:
    doubled = replace(PARTS, seeds=2 * PARTS.seeds)
    average = average_variances([PARTS, doubled])
    assert average.seed_count == 1
    assert average.groups == pytest.approx(PARTS.groups)
    assert average.interaction == pytest.approx(4 * PARTS.interaction)
    assert average.seeds == pytest.approx(4 * 1.5 * PARTS.seeds)


def test_average_leaves_out_one_seed_where_others_have_more() -> None:
    single = replace(PARTS, seed_count=1, seeds=0.0, groups=1.0)
    assert average_variances([PARTS, single]) == average_variances([PARTS])
    assert average_variances([single]) == single


def test_assumed_variance_is_that_of_simulated_groups() -> None:
    """The two configs answer independently, so each part counts twice."""
    study, rng = CorrelatedStudy(np.full(40, 5), 0.8, 0.3, own=1.0), np.random.default_rng(10)
    differences = []
    for _ in range(400):
        base, one = study.draw(rng, 2)
        differences.append((one.accuracy_by_seed - base.accuracy_by_seed).item())
    assumed = assume_variance(0.8, images=200, groups=40, correlation=0.3, agreement=0.0)
    assert assumed.groups == pytest.approx(np.var(differences), rel=0.25)


def test_assumed_seeds_add_the_variance_of_two_configs() -> None:
    single = assume_variance(0.8, images=200, groups=40, correlation=0.3, agreement=0.5)
    assert assume_seeds(single, 0.01).with_seeds(4).seeds == pytest.approx(2 * 0.01**2 / 4)
