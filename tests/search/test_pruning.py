"""What ends early: poor trials at their epochs, and poor configs before their next seed."""

import math
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator

from study.search.pruning import explain_no_further_seed
from study.search.pruning import make_watch
from study.search.pruning import report_epoch

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


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ([0.1], [[0.5] * 3, [0.4] * 3]),
        ([0.895], [[0.90, 0.70], [0.85, 0.65]]),  # the difference varies by a rounding error
    ],
)
def test_difference_that_never_varies_prunes_nothing(
    values: list[float], others: list[list[float]]
) -> None:
    assert explain_no_further_seed(values, others, minimize=False) is None


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


@pytest.mark.parametrize(("metric", "poor"), [("val_accuracy", 0.1), ("val_loss", 2.0)])
def test_pruner_reports_each_epoch_and_gives_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, poor: float
) -> None:
    monkeypatch.setenv("STUDY_STORAGE", f"sqlite:///{tmp_path}/study.db")
    direction = "minimize" if metric == "val_loss" else "maximize"
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", direction=direction)
    for _ in range(5):
        study.add_trial(optuna.create_trial(value=1.0, intermediate_values={1: 1.0, 2: 1.0}))
    watch = make_watch(study.ask(), "median", 4, metric)
    assert watch.function == "study.search.pruning:report_epoch"
    too_early = report_epoch(*watch.args, {"epoch": 1.0, metric: poor})
    assert too_early is None
    reason = report_epoch(*watch.args, {"epoch": 2.0, metric: poor})
    assert f"epoch 2: {metric} {poor:.4f}" in (reason or "")
    assert study.trials[-1].intermediate_values == {1: poor, 2: poor}
