"""Ways to spend less than the full grid, replayed on curves that are made up."""

from typing import Any

import numpy as np
import pytest

from experiments.budget import ALL
from experiments.budget import compare_verdicts
from experiments.budget import make_halving
from experiments.budget import print_comparison
from experiments.budget import replay_fast
from experiments.budget import replay_few_seeds
from experiments.budget import replay_full
from experiments.budget import WAYS
from experiments.budget_curves import Curves
from study.search.grid_plan import variant_setting

EPOCHS = 6
SEEDS = (0, 1, 2)


def make_curve(seed: int, variant: int) -> dict[str, Any]:
    """Variant 7 is right on nine of ten test images, the others on six."""
    rng = np.random.default_rng([seed, variant])
    accuracy = 0.9 if variant == 7 else 0.6
    return {
        "val": list(np.linspace(0.5, accuracy + variant / 1000, EPOCHS) + 0.001 * seed),
        "right": rng.random((EPOCHS, 200)) < accuracy,
        "groups": np.array([f"patient{i // 2}" for i in range(200)]),
    }


@pytest.fixture(scope="module")
def curves() -> Curves:
    return {seed: {variant: make_curve(seed, variant) for variant in ALL} for seed in SEEDS}


def test_full_grid_finds_the_variant_that_is_better(curves: Curves) -> None:
    full = replay_full(curves, SEEDS, EPOCHS)
    assert full.best == 7
    assert full.directions[variant_setting(7)] == 1
    assert full.epochs == len(ALL) * EPOCHS * len(SEEDS)


def test_ways_spend_a_third_of_the_epochs(curves: Curves) -> None:
    full = replay_full(curves, SEEDS, EPOCHS)
    for replay in (replay_fast, replay_few_seeds):
        result = replay(curves, SEEDS, EPOCHS)
        assert result.epochs == full.epochs / 3
        assert result.best == 7


def test_halving_counts_a_variant_that_goes_on_once(curves: Curves) -> None:
    result = make_halving([(1 / 2, 1)], 2)(curves, SEEDS, EPOCHS)
    # seven variants for half of the epochs; then the baseline and one more to the end, two seeds
    assert result.epochs == 5 * EPOCHS / 2 + 2 * 2 * EPOCHS


def test_verdicts_of_the_full_grid_agree_with_its_own(curves: Curves) -> None:
    full = [replay_full(curves, SEEDS, EPOCHS)]
    assert compare_verdicts(full, full) == ("100% 100% 100%", 1.0)


def test_comparison_has_a_line_for_each_way(
    curves: Curves, capsys: pytest.CaptureFixture[str]
) -> None:
    print_comparison(curves, [SEEDS], EPOCHS)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:44].rstrip() for line in lines[2:]] == list(WAYS)
    assert all("100%" in line for line in lines[2:4])
