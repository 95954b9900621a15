"""The real command `python -m study.grid --sweep`, mostly with a stub in place of training."""

import itertools
import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow.entities import Run
from optuna.distributions import CategoricalDistribution
from optuna.distributions import FloatDistribution
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from study.common.errors import TrialFailed
from study.config.sweep import Sweep
from study.config.trial_config import TrialConfig
from study.job import Outcome
from study.search.grid_flags import parse_sweep
from study.tracking.ui_links import NOTE_TAG
from tests.support.commands import client_of
from tests.support.commands import finished_of
from tests.support.commands import run_here
from tests.support.commands import runs_of
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.images import class_folders
from tests.support.training import ImagesChange
from tests.support.training import make_outcome
from tests.support.training import StubTraining

TWO_FIELDS = ("--sweep", "lr=1e-3,5e-3", "--sweep", "head=flatten,gap")


@pytest.fixture
def folder(empty_database: Path, tmp_path: Path) -> Path:
    """An empty working directory with an empty MLflow."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tmp_path


def judge(config: TrialConfig) -> Outcome:
    """Prefer the higher rate, then GAP, then the later seed; on test, the earlier seed."""
    value = 0.5 + 20 * config.lr + 0.05 * (config.head == "gap") + 0.01 * config.seed
    return make_outcome(value, run_id="0" * 32, test_accuracy=0.8 - config.seed / 10)


def run_grid(
    folder: Path, *flags: str, answer: Callable[[TrialConfig], Outcome] = judge
) -> tuple[list[TrialConfig], str]:
    """What a grid trained, and what it said."""
    stub = StubTraining(answer)
    done = run_here("study.grid", *flags, cwd=folder, worker=stub)
    assert done.returncode == 0, done.stderr
    return stub.asked, done.stderr


def find_parent(folder: Path) -> Run:
    (run,) = (run for run in runs_of(client_of(folder)) if "study" in run.data.tags)
    return run


def sweep_of(folder: Path) -> Sweep:
    return Sweep.from_json(find_parent(folder).data.tags["sweep"])


def trials_of(folder: Path) -> list[FrozenTrial]:
    storage = f"sqlite:///{folder}/study.db"
    (study,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=study, storage=storage).trials


@dataclass(frozen=True)
class Swept:
    """The folder of a sweep of two fields with two seeds, what it trained, and what it said."""

    folder: Path
    asked: list[TrialConfig]
    said: str


@pytest.fixture(scope="module")
def swept(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    folder = tmp_path_factory.mktemp("swept")
    shutil.copy(empty_database, folder / "mlflow.db")
    return Swept(folder, *run_grid(folder, *TWO_FIELDS, "--sweep", "weights=none", "--seeds", "2"))


def test_sweep_trains_each_combination_with_each_seed(swept: Swept) -> None:
    wanted = itertools.product((1e-3, 5e-3), ("flatten", "gap"), (0, 1))
    assert [(config.lr, config.head, config.seed) for config in swept.asked] == list(wanted)
    assert {config.epochs for config in swept.asked} == {18}
    assert "8 trials: 2 lr x 2 head x 1 weights x 2 seeds\n" in swept.said
    assert "8 trials, 0 finished already" in swept.said


def test_sweep_result_is_the_mean_over_the_seeds_of_the_best_cell(swept: Swept) -> None:
    assert (
        "8 of 8 finished; best on validation: lr=5e-3 head=gap weights=none "
        "(val 0.6550, test 0.7500, means of 2 trainings)" in swept.said
    )
    run = find_parent(swept.folder)
    assert run.info.run_name == "demo · sweep of lr, head, weights · pooled split · 18 epochs"
    assert run.data.metrics["best_cell_test_accuracy_mean"] == pytest.approx(0.75)
    note = run.data.tags[NOTE_TAG]
    assert note.startswith(
        "**Best on validation: lr=5e-3 head=gap weights=none**, [demo · GAP·D(8) · 5e-3"
    )
    assert "test accuracy 75.0 %, means over its 2 trainings" in note
    assert "Grid of 2 lr x 2 head x 1 weights: 8 of 8 trials finished. Data set demo" in note


def test_configs_that_tie_are_counted_and_the_first_one_named(folder: Path) -> None:
    _, said = run_grid(folder, *TWO_FIELDS, answer=lambda _: make_outcome(0.6719))
    first = "first of them lr=1e-3 head=flatten (test "
    assert f"4 configs tie for the best on validation (val 0.6719), the {first}" in said
    note = find_parent(folder).data.tags[NOTE_TAG]
    assert note.startswith(
        "**4 configs tie for the best on validation. The first of them: lr=1e-3 head=flatten**"
    )


def test_sweep_parent_run_names_the_values_and_the_shared_fields(swept: Swept) -> None:
    run = find_parent(swept.folder)
    assert json.loads(run.data.tags["sweep"]) == {
        "fields": {"lr": [0.001, 0.005], "head": ["flatten", "gap"], "weights": ["none"]},
        "baseline": {"lr": 0.001, "head": "gap", "weights": "none"},  # the recipe's
    }
    assert run.data.params["epochs"] == "18"
    assert not {"lr", "head", "seed", "fold"} & run.data.params.keys()


def test_grid_of_the_variants_has_no_sweep(folder: Path) -> None:
    _, said = run_grid(folder)
    assert "7 trials: 7 variants\n" in said
    assert "sweep" not in find_parent(folder).data.tags


@pytest.mark.parametrize(
    ("values", "flags", "baseline"),
    [
        ("5e-5,1e-3", [], 1e-3),  # the recipe's
        ("5e-5,1e-4", [], 5e-5),  # the first, as the recipe's is not there
        ("5e-5,1e-4", ["lr=1e-4"], 1e-4),
    ],
)
def test_baseline_is_the_one_asked_for_or_the_recipes_or_the_first(
    values: str, flags: list[str], baseline: float
) -> None:
    assert parse_sweep([f"lr={values}"], flags, "demo").baseline == {"lr": baseline}


def test_later_call_with_more_values_goes_on_in_the_same_study(folder: Path) -> None:
    run_grid(folder, "--sweep", "lr=1e-3,5e-3", "--baseline", "lr=5e-3")
    asked, _ = run_grid(folder, "--sweep", "lr=1e-4,1e-2")
    assert [config.lr for config in asked] == [1e-4, 1e-2]
    assert [trial.params["lr"] for trial in trials_of(folder)] == [1e-3, 5e-3, 1e-4, 1e-2]
    assert sweep_of(folder).fields == {"lr": (1e-3, 5e-3, 1e-4, 1e-2)}
    assert sweep_of(folder).baseline == {"lr": 5e-3}
    run_grid(folder, "--sweep", "lr=1e-2,1e-4", "--baseline", "lr=1e-2")
    assert sweep_of(folder).baseline == {"lr": 1e-2}


def test_sweep_does_not_depend_on_the_order_of_its_fields(folder: Path) -> None:
    run_grid(folder, *TWO_FIELDS)
    run_grid(folder, *TWO_FIELDS[2:], *TWO_FIELDS[:2])
    assert list(sweep_of(folder).fields) == ["lr", "head"]
    assert len(trials_of(folder)) == 8


def test_optuna_knows_numbers_as_ranges_and_texts_as_all_that_is_allowed(swept: Swept) -> None:
    trial, *_ = trials_of(swept.folder)
    assert trial.params == {"lr": 1e-3, "head": "flatten", "weights": "none", "seed": 0}
    assert trial.distributions == {
        "seed": IntDistribution(0, 1),
        "lr": FloatDistribution(1e-3, 5e-3),
        "head": CategoricalDistribution(("flatten", "gap")),
        "weights": CategoricalDistribution(("imagenet", "none", "file")),
    }


def test_all_fields_that_name_a_grid_can_be_swept(folder: Path) -> None:
    flags = ("epochs=1,2", "image_size=32,48", "split=pooled,grouped", "weights=none,imagenet")
    sweeps = [word for flag in flags for word in ("--sweep", flag)]
    asked, _ = run_grid(folder, *sweeps, "--sweep", "alpha=0.25,0.5")
    assert len({(c.epochs, c.image_size, c.split, c.weights, c.alpha) for c in asked}) == 32
    assert find_parent(folder).info.run_name.startswith("demo · sweep of epochs, image_size")


def test_several_sweeps_may_stand_in_one_flag() -> None:
    sweep = parse_sweep(["lr=1e-3, 5e-3 head=flatten,gap  batch-size=8"], [], "demo")
    assert sweep.fields == {"lr": (1e-3, 5e-3), "head": ("flatten", "gap"), "batch_size": (8,)}


def test_sweep_of_every_fold_trains_each_once(folder: Path) -> None:
    flags = ("--split", "grouped", "--folds", "3")
    asked, said = run_grid(folder, "--sweep", "lr=1e-3,5e-3", *flags)
    assert [(config.lr, config.fold) for config in asked] == [
        (lr, fold) for lr in (1e-3, 5e-3) for fold in (1, 2, 3)
    ]
    assert "6 trials: 2 lr x 3 folds\n" in said


def test_failed_cell_of_a_sweep_is_named_by_its_values(folder: Path) -> None:
    def train(config: TrialConfig) -> Outcome:
        if config.head == "gap":
            raise TrialFailed("no memory")
        return judge(config)

    done = run_here("study.grid", *TWO_FIELDS, cwd=folder, worker=StubTraining(train))
    assert done.returncode == 2
    assert "2 of 4 trials failed, such as lr=1e-3 head=gap with seed 0: no memory" in done.stderr


def test_images_that_change_before_a_trial_end_the_grid_and_are_planned_anew(folder: Path) -> None:
    root = class_folders(folder / "cells", {"a": 12, "b": 12})
    flags = ("--dataset", f"folder:{root}", "--sweep", "lr=1e-3,5e-3", "--weights", "none")
    worker = ImagesChange(judge, root / "a" / "new.png")
    done = run_here("study.grid", *flags, cwd=folder, worker=worker)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: the images or groups of folder:{root} on {platform.node()} are not those that "
        "this command began with: repeat it when nobody changes them"
    )
    (first, second) = trials_of(folder)
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.FAIL)
    assert "reason" not in second.user_attrs  # so it can be claimed again
    assert finished_of(client_of(folder)) == []
    assert find_parent(folder).info.status == "FAILED"
    stub = StubTraining(judge)
    done = run_here("study.grid", *flags, cwd=folder, worker=stub)
    assert "2 trials, 0 finished already" in done.stderr
    assert [config.lr for config in stub.asked] == [1e-3, 5e-3]


def test_fast_sweep_describes_the_effect_of_each_field(folder: Path) -> None:
    def train(config: TrialConfig) -> Outcome:
        noise = (config.seed * 7 + round(config.lr * 1000)) % 3 / 1000
        return make_outcome(0.5 + 20 * config.lr + noise)

    flags = (*TWO_FIELDS, "--seeds", "4", "--budget", "fast")
    _, said = run_grid(folder, *flags, answer=train)
    assert "2 configs tie for the lead on validation (mean 0.601" in said
    assert "the first of them lr=5e-3 head=flatten; effects" in said
    assert "compared with the baseline: lr positive, head not significant" in said
    assert "sweep" not in find_parent(folder).data.tags  # that of the full grid has it


def test_sweep_registers_the_best_training_of_the_best_config(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        "study.search.grid_result.register_model", lambda *args, **_: registered.append(args)
    )
    run_grid(folder, *TWO_FIELDS, "--seeds", "2", "--register", "--force")
    ((_, _, config, reason, _),) = registered
    assert (config.lr, config.head, config.seed) == (5e-3, "gap", 1)
    assert reason == (
        "the best (by validation accuracy) of 2 trainings of the best of 4 configs "
        "(by mean validation accuracy)"
    )


def test_sweep_without_finished_runs_like_it_gives_no_time(swept: Swept) -> None:
    assert "time left: known after the first trial\n" in swept.said


def test_real_sweep_is_resumed_and_its_time_estimated(folder: Path) -> None:
    flags = (*TINY, "--epochs", "1", "--limit", "60")
    succeed_here("study.grid", *flags, "--sweep", "lr=1e-3", cwd=folder)
    said = succeed_here("study.grid", *flags, "--sweep", "lr=1e-3,5e-3", cwd=folder)
    assert "2 trials, 1 finished already" in said
    assert " for the remaining 1, judging by a finished run like them\n" in said
    runs = finished_of(client_of(folder))
    assert [run.data.params["lr"] for run in runs] == ["0.001", "0.005"]
    parent = find_parent(folder)
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    again = succeed_here(
        "study.grid", *flags, "--sweep", "lr=5e-3,1e-3", "--baseline", "lr=5e-3", cwd=folder
    )
    assert "2 of 2 finished; " in again
    assert "epoch" not in again
    assert sweep_of(folder).baseline == {"lr": 5e-3}  # although nothing was left to train
    only = succeed_here("study.grid", *flags, "--sweep", "lr=1e-3 head=gap", cwd=folder)
    assert "1 trial, 1 finished already" in only  # by its fingerprint, in another study
