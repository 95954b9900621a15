"""The fast budget: `study.grid --budget fast`, stopped, repeated, gone on with in full."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from mlflow.entities import Run
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.common.errors import ConfigError
from study.config.trial_config import recipe
from study.search.best_setting import mean_by_setting
from study.search.fast_budget import describe_factors
from study.search.fast_budget import fast_epochs
from study.search.fast_budget import list_factors
from study.search.fast_budget import SHARE
from study.search.fast_budget import significant_directions
from study.search.grid_plan import Cell
from study.search.grid_plan import plan_variants
from study.variants import VARIANTS
from tests.support.commands import client_of
from tests.support.commands import finished_of
from tests.support.commands import history_of
from tests.support.commands import run_here
from tests.support.commands import runs_of
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.training import InlineWorker

FLAGS = (*TINY, "--limit", "60", "--epochs", "3", "--seeds", "1")
ACCURACIES = st.integers(0, 64).map(lambda right: right / 64)
PLAN = plan_variants(recipe("demo"))
SETTINGS = PLAN.settings
BASELINE = PLAN.baseline
FACTORS = list_factors(PLAN)


def make_accuracies(table: npt.NDArray[np.float64]) -> dict[Cell, float]:
    """The accuracy of each variant (column) with each seed (row)."""
    return {
        Cell(setting, seed): float(accuracy)
        for seed, row in enumerate(table)
        for setting, accuracy in zip(SETTINGS, row, strict=True)
    }


def trials_in(folder: Path) -> list[Run]:
    return [run for run in runs_of(client_of(folder)) if "fingerprint" in run.data.tags]


def parents_in(folder: Path) -> list[Run]:
    return [run for run in runs_of(client_of(folder)) if "study" in run.data.tags]


def paused_in(folder: Path) -> list[Run]:
    return [run for run in trials_in(folder) if "paused" in run.data.tags]


class StoppedWorker(InlineWorker):
    """Trains a few trials; then somebody presses Ctrl-C."""

    def __init__(self, trials: int) -> None:
        self.left = trials

    def call(self, function: str, *args: Any) -> Any:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().call(function, *args)


@pytest.fixture(scope="module")
def fast(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which a fast grid was stopped and run again, and what the second call said."""
    folder = tmp_path_factory.mktemp("fast")
    shutil.copy(empty_database, folder / "mlflow.db")
    flags = (*FLAGS, "--budget", "fast")
    stopped = run_here("study.grid", *flags, cwd=folder, worker=StoppedWorker(trials=2))
    assert stopped.returncode == 130
    assert len(paused_in(folder)) == 2
    return folder, succeed_here("study.grid", *FLAGS, "--budget", "fast", cwd=folder)


def test_fast_grid_pauses_every_trial_after_a_third(fast: tuple[Path, str]) -> None:
    folder, output = fast
    trials = trials_in(folder)
    assert sorted(run.data.tags["variant"] for run in trials) == list("1234567")
    for run in trials:
        assert run.info.status == "KILLED"
        assert run.data.tags["paused"] == "after epoch 1"
        assert run.data.params["epochs"] == "3"
        assert [step for step, _ in history_of(client_of(folder), run, "val_loss")] == [1]
        assert not [name for name in run.data.metrics if name.startswith("test")]
    assert "7 of 7 trials have trained 1 of 3 epochs" in output
    assert "no test image was used" in output


def test_fast_grid_parent_run_says_what_was_spent(fast: tuple[Path, str]) -> None:
    (parent,) = parents_in(fast[0])
    note = parent.data.tags["mlflow.note.content"]
    assert parent.info.status == "FINISHED"
    assert "7 of 7 trials have trained 1 of 3 epochs (33% of their compute)" in note
    assert "on validation (mean " in note


def test_fast_grid_leaves_no_finished_run(fast: tuple[Path, str]) -> None:
    assert finished_of(client_of(fast[0])) == []


def test_repeated_fast_grid_trains_nothing(fast: tuple[Path, str]) -> None:
    folder, output = fast
    before = {run.info.run_id: run.info.end_time for run in trials_in(folder)}
    again = succeed_here("study.grid", *FLAGS, "--budget", "fast", cwd=folder)
    assert {run.info.run_id: run.info.end_time for run in trials_in(folder)} == before
    said = "on validation (mean "
    assert [x for x in again.splitlines() if said in x] == [
        x for x in output.splitlines() if said in x
    ]


def test_full_grid_after_a_fast_one_continues_the_same_runs(fast: tuple[Path, str]) -> None:
    folder, _ = fast
    began = {run.info.run_id: run.data.metrics["val_loss"] for run in trials_in(folder)}
    output = succeed_here("study.grid", *FLAGS, cwd=folder)
    trials = trials_in(folder)
    assert {run.info.run_id for run in trials} == began.keys()
    assert output.count("continuing after epoch 1") == len(VARIANTS)
    for run in trials:
        history = history_of(client_of(folder), run, "val_loss")
        assert [step for step, _ in history] == [1, 2, 3]
        assert history[0][1] == began[run.info.run_id]
        assert run.info.status == "FINISHED"
        assert "paused" not in run.data.tags


@given(st.integers(SHARE, 10_000))
def test_fast_epochs_are_at_least_one_and_at_most_a_third(epochs: int) -> None:
    assert 1 <= fast_epochs(epochs) <= epochs / SHARE < fast_epochs(epochs) + 1


def test_fast_budget_of_less_than_an_epoch_is_refused() -> None:
    with pytest.raises(ConfigError, match="use 3 or more"):
        fast_epochs(2)


@settings(max_examples=10)
@given(st.lists(st.lists(ACCURACIES, min_size=7, max_size=7), min_size=1, max_size=6), st.randoms())
def test_significant_directions_depend_on_accuracies_alone(
    table: list[list[float]], random: object
) -> None:
    accuracies = make_accuracies(np.array(table))
    items = list(accuracies.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    found = significant_directions(accuracies, BASELINE)
    assert significant_directions(dict(items), BASELINE) == found
    assert BASELINE not in found
    mirror = {cell: 1 - value for cell, value in accuracies.items()}
    mirrored = significant_directions(mirror, BASELINE)
    assert mirrored == {setting: -apart for setting, apart in found.items()}
    assert list(mean_by_setting(accuracies)) == SETTINGS


def test_significant_directions_of_one_seed_are_none() -> None:
    accuracies = make_accuracies(np.arange(7).reshape(1, 7) / 10)
    assert significant_directions(accuracies, BASELINE) == {}
    assert set(describe_factors({}, FACTORS).values()) == {"not significant"}


@pytest.mark.parametrize("seed", range(8))
def test_significant_directions_of_seeds_follow_the_corrected_t_test(seed: int) -> None:
    """The validation images of a seed are a quarter as many as its training images."""
    gains = np.array([0, 0, 0.01, -0.02, 0, 0.02, 0.04])
    table = 0.7 + gains + np.random.default_rng(seed).normal(0, 0.01, (6, 7))
    differences = table[:, 1:] - table[:, :1]
    errors = np.sqrt((1 / 6 + 1 / 4) * differences.var(axis=0, ddof=1))
    p = 2 * stats.t.sf(abs(differences.mean(axis=0)) / errors, 5)
    adjusted = multipletests(p, method="holm")[1]
    wanted = np.sign(table.mean(axis=0) - table[:, 0].mean())[1:] * (adjusted < 0.05)
    cells = make_accuracies(table)
    assert significant_directions(cells, BASELINE) == dict(
        zip(SETTINGS[1:], wanted.astype(int), strict=True)
    )
    assert list(mean_by_setting(cells).values()) == pytest.approx(list(table.mean(axis=0)))


def make_fold_accuracies(gains: list[float]) -> dict[Cell, float]:
    """Accuracies of the baseline and another variant, on five folds of each seed."""
    cells = [Cell(BASELINE, *divmod(index, 5)) for index in range(len(gains))]
    cells = [cell._replace(fold=cell.fold + 1) for cell in cells]
    bases = {cell: 0.7 for cell in cells}
    pairs = zip(cells, gains, strict=True)
    return bases | {cell._replace(setting=SETTINGS[1]): 0.7 + gain for cell, gain in pairs}


@pytest.mark.parametrize("folds", [5, 10])  # of one seed, and of two
@pytest.mark.parametrize("spread", [0.9, 1.1])
def test_significant_directions_of_folds_follow_the_corrected_t_test(
    folds: int, spread: float
) -> None:
    """The validation images of a fold are a quarter as many as its training images."""
    deviations = np.tile([-2.0, -1, 0, 1, 2], folds // 5)
    deviations /= deviations.std(ddof=1)
    # The spread with which p is 0.05
    limit = 0.02 / stats.t.isf(0.025, folds - 1) / np.sqrt(1 / folds + 1 / 4)
    gains = 0.02 + spread * limit * deviations
    found = significant_directions(make_fold_accuracies(gains.tolist()), BASELINE)
    assert found == {SETTINGS[1]: int(spread < 1)}


@pytest.mark.parametrize(("rounding", "direction"), [(0.0, 0), (4e-7, 0), (6e-7, 1)])
def test_gain_that_varies_by_a_rounding_alone_is_not_significant(
    rounding: float, direction: int
) -> None:
    base = {Cell(BASELINE, seed): value for seed, value in enumerate((0.5, 0.7, 0.8))}
    better = {
        cell._replace(setting=SETTINGS[1]): value + 0.1 + rounding * (cell.seed - 1)
        for cell, value in base.items()
    }
    assert significant_directions(base | better, BASELINE) == {SETTINGS[1]: direction}


def test_factor_is_described_by_the_variants_that_change_it() -> None:
    directions = dict(zip(SETTINGS[1:], [0, 1, -1, -1, -1, 1], strict=True))
    assert describe_factors(directions, FACTORS) == {
        "hidden layers": "negative",
        "dense units": "positive",
        "lr": "positive and negative",
    }
