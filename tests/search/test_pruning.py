"""Whether a config has earned its next seed: properties, and how often the rule errs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator

from study.search.pruning import explain_no_further_seed

FIGURE = st.floats(0, 1)
SEEDS = 3
TABLE = st.lists(st.lists(FIGURE, min_size=SEEDS, max_size=SEEDS), min_size=2, max_size=8)


@given(others=TABLE, seen=st.integers(1, SEEDS - 1), more=st.floats(0, 1), minimize=st.booleans())
def test_config_no_worse_than_the_best_gets_its_next_seed(
    others: list[list[float]], seen: int, more: float, minimize: bool
) -> None:
    best = (min if minimize else max)(others, key=lambda row: np.mean(row))
    values = [value - more if minimize else value + more for value in best[:seen]]
    assert explain_no_further_seed(values, others, minimize=minimize) is None


@given(others=TABLE, values=st.lists(FIGURE, min_size=1, max_size=SEEDS - 1))
def test_minimizing_mirrors_maximizing(others: list[list[float]], values: list[float]) -> None:
    mirrored = ([-value for value in values], [[-value for value in row] for row in others])
    reason = explain_no_further_seed(values, others, minimize=False)
    assert reason == explain_no_further_seed(*mirrored, minimize=True)


@pytest.mark.parametrize("others", [[], [[0.9, 0.8, 0.85]]])
def test_config_with_fewer_than_two_others_is_not_pruned(others: list[list[float]]) -> None:
    assert explain_no_further_seed([0.1], others, minimize=False) is None


@pytest.mark.parametrize("minimize", [False, True])
def test_figure_that_is_no_number_prunes_nothing(minimize: bool) -> None:
    others = [[0.9, 0.8, 0.85], [0.85, 0.82, 0.8]]
    assert explain_no_further_seed([math.nan], others, minimize=minimize) is None
    others[1][1] = math.nan
    assert explain_no_further_seed([0.5], others, minimize=minimize) is None


def test_seeds_that_never_differ_prune_nothing() -> None:
    assert explain_no_further_seed([0.1], [[0.5] * 3, [0.4] * 3], minimize=False) is None


STUDIES = 2000
CONFIGS = 10  # with all their seeds


def simulate_pruned_shares(random: Generator, differ: float, worse: float) -> tuple[float, float]:
    """The share of configs ended at their first seed, and by their second, in simulated studies.

    Each is worse than the best's true mean by so many spreads of a difference between two configs
    on one seed. The configs' means differ with a standard deviation of `differ` times that of a
    repeat, and a seed is a split that all configs share.
    """
    count = [0, 0]
    for _ in range(STUDIES):
        means = random.normal(0, differ, CONFIGS)
        splits = random.normal(0, 1.5, SEEDS)
        table = means[:, None] + splits + random.normal(size=(CONFIGS, SEEDS))
        mean = means[table.mean(axis=1).argmax()] - worse * math.sqrt(2)
        values = list(mean + splits + random.normal(size=SEEDS))
        for seen in range(1, SEEDS):
            if explain_no_further_seed(values[:seen], table.tolist(), minimize=False):
                count[seen - 1] += 1
                break
    return count[0] / STUDIES, sum(count) / STUDIES


@pytest.mark.parametrize(
    ("differ", "worse", "first", "second"),
    [
        (1.0, 0.0, 1 / 6, 1 / 4),
        (0.0, 0.0, 1 / 4, 2 / 5),  # all alike: the best is but the luckiest
        (1.0, 3.0, 19 / 20, 0.99),
    ],
)
def test_pruning_rule_errs_as_often_as_documented(
    differ: float, worse: float, first: float, second: float
) -> None:
    found = simulate_pruned_shares(np.random.default_rng(0), differ, worse)
    assert found == pytest.approx((first, second), abs=0.035)  # 3 standard errors
