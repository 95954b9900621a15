"""What the parent run of a study says of it, from real studies without training."""

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from study.common.command import run_command
from study.common.errors import TrialFailed
from study.config.trial_config import recipe
from study.config.trial_config import TrialConfig
from study.grid import main as grid
from study.job import Options
from study.job import Outcome
from study.search.grid_plan import plan_variants
from study.search.run_grid import run_grid
from study.tpe import main as search
from study.tracking.ui_links import NOTE_TAG
from study.variants import find_variant
from tests.support.commands import runs_of
from tests.support.images import class_folders
from tests.support.training import make_outcome
from tests.support.training import StubTraining
from tests.support.training import use_worker

Trains = Callable[[Callable[[TrialConfig], Outcome]], StubTraining]


@pytest.fixture
def make_stub(monkeypatch: pytest.MonkeyPatch) -> Trains:
    """Makes the worker that answers so in place of training, which the commands use, too."""

    def replace(answer: Callable[[TrialConfig], Outcome]) -> StubTraining:
        worker = StubTraining(answer)
        use_worker(monkeypatch, worker)
        return worker

    return replace


def outcome_of(config: TrialConfig, test: float = 0.5) -> Outcome:
    """Better on validation with each layer, and with each seed; on test as given."""
    value = 0.5 + config.hidden_layers / 10 + config.seed / 100
    run_id = f"{config.hidden_layers:016}{config.seed:016}"
    return make_outcome(value, run_id=run_id, test_accuracy=test)


def parent(client: MlflowClient) -> Run:
    (run,) = (run for run in runs_of(client) if "study" in run.data.tags)
    return run


def test_grid_summary_names_the_best_variant_by_mean_of_seeds(
    client: MlflowClient, make_stub: Trains
) -> None:
    worker = make_stub(
        lambda config: dataclasses.replace(
            outcome_of(config, test=0.4 + config.seed / 10), majority=0.25
        )
    )
    run_grid(plan_variants(recipe("demo"), 2), Options(), [worker])
    run = parent(client)
    assert run.info.run_name == "demo · 7 variants · pooled split · 18 epochs"
    assert run.data.metrics == pytest.approx(
        {
            "finished": 14,
            "failed": 0,
            "best_cell_val_accuracy_mean": 0.805,
            "best_cell_test_accuracy_mean": 0.45,
        }
    )
    note, experiment = run.data.tags[NOTE_TAG], run.info.experiment_id
    best = outcome_of(recipe("demo").replace(hidden_layers=3, seed=1)).run_id
    for words in (
        "Grid of the 7 variants: 14 of 14 trials finished. Data set demo (synthetic), MobileNet, "
        "weights: none, pooled split, 32 x 32 pixels, at most 18 epochs, all images.",
        "**Best on validation: variant 5**, [demo · GAP·D(8)·D(8)·D(8) · 1e-3 · seed 1]"
        f"(#/experiments/{experiment}/runs/{best}?",
        "validation accuracy 80.5 %, test accuracy 45.0 %, means over its 2 trainings",
        "python -m pipelines.export --dataset demo\npython -m pipelines.report --dataset demo",
        f"(#/experiments/{experiment}/runs?",
        "Always predicting the most frequent class has a test accuracy of 25.0 %.",
    ):
        assert words in note
    # The curves are of all runs of the grid, also of those trained before it under another parent.
    assert quote(f"'{best}'") in note


@pytest.mark.parametrize(
    ("error", "count"),
    [
        (KeyboardInterrupt, "2 of 7 trials finished. "),
        (TrialFailed, "2 of 7 trials finished, 5 failed. "),
    ],
)
def test_grid_that_ends_early_summarizes_what_is_finished(
    client: MlflowClient,
    make_stub: Trains,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    count: str,
) -> None:
    calls: list[TrialConfig] = []

    def train(config: TrialConfig) -> Outcome:
        calls.append(config)
        if len(calls) > 2:
            raise error("no more")
        return outcome_of(config)

    make_stub(train)
    monkeypatch.setattr("sys.argv", ["study.grid", "--dataset", "demo"])
    assert run_command(grid) != 0
    run = parent(client)
    assert count in run.data.tags[NOTE_TAG]
    assert run.data.tags[NOTE_TAG].startswith("**2 variants tie for the best")
    assert run.data.metrics["finished"] == 2


def test_grid_without_a_finished_trial_names_no_best(
    client: MlflowClient, make_stub: Trains, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(config: TrialConfig) -> Outcome:
        raise TrialFailed(f"no {config.dataset}")

    make_stub(train)
    monkeypatch.setattr("sys.argv", ["study.grid", "--dataset", "demo"])
    assert run_command(grid) == 2
    assert parent(client).data.metrics == {"finished": 0, "failed": 7}
    assert "Best" not in parent(client).data.tags[NOTE_TAG]


def test_test_accuracy_not_delivered_yet_is_left_out(
    client: MlflowClient, make_stub: Trains
) -> None:
    worker = make_stub(lambda config: outcome_of(config, test=float("nan")))
    run_grid(plan_variants(recipe("demo")), Options(), [worker])
    assert "best_cell_test_accuracy_mean" not in parent(client).data.metrics
    assert "test accuracy not delivered yet" in parent(client).data.tags[NOTE_TAG]


@pytest.mark.parametrize("fresh", [0, 2])
def test_search_summary_shows_test_accuracy_of_fresh_seeds_alone(
    client: MlflowClient,
    make_stub: Trains,
    monkeypatch: pytest.MonkeyPatch,
    fresh: int,
) -> None:
    def train(config: TrialConfig) -> Outcome:
        accuracies = {None: 0.123, 1: 0.7, 5: 0.9}
        return outcome_of(config, test=accuracies[find_variant(config) if config.seed else None])

    make_stub(train)
    flags = ["--dataset", "demo", "--trials", "7", "--confirm", str(fresh)]
    monkeypatch.setattr("sys.argv", ["study.tpe", *flags])
    assert run_command(search) == 0
    run = parent(client)
    note, figures = run.data.tags[NOTE_TAG], dict(run.data.metrics)
    assert run.info.run_name == "demo · search · grouped split · 18 epochs"
    assert figures.pop("confirmed_test_accuracy_mean", None) == (0.9 if fresh else None)
    assert figures.pop("start_test_accuracy_mean", None) == (0.7 if fresh else None)
    assert figures == pytest.approx({"finished": 7, "failed": 0, "best_val_accuracy": 0.8})
    assert "7 trials finished, 0 pruned, 0 failed" in note
    assert "**Best on validation:** [demo · GAP·D(8)·D(8)·D(8) · 1e-3 · seed 0 · " in note
    assert ("its test accuracy is 90.0 % (mean of 2 trainings): [demo" in note) == (fresh > 0)
    start = "**With the same seeds**, that of the search's first config (variant 1) is 70.0 %"
    assert (start in note) == (fresh > 0)
    assert "12.3" not in note


@pytest.mark.parametrize("change", [shutil.rmtree, lambda folder: class_folders(folder, {"c": 2})])
@pytest.mark.parametrize("command", [grid, search])
def test_summary_names_the_images_that_the_study_began_with(
    client: MlflowClient,
    make_stub: Trains,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
    command: Callable[[], None],
) -> None:
    folder = class_folders(tmp_path / "cells", {"a": 12, "b": 12})
    changes = iter([change])

    def train(config: TrialConfig) -> Outcome:
        for each in changes:  # once
            each(folder)
        return outcome_of(config)

    make_stub(train)
    flags = ["--dataset", f"folder:{folder}", "--split", "pooled"]
    limits = ["--trials", "2", "--confirm", "0"] if command is search else []
    monkeypatch.setattr("sys.argv", ["a command", *flags, *limits])
    assert run_command(command) == 0
    run = parent(client)
    assert run.info.status == "FINISHED"
    name, *_ = run.info.run_name.split(" · ")
    note = run.data.tags[NOTE_TAG]
    assert set(re.findall(r"cells-[0-9a-f]{6}", note)) == {name}
    assert f"Data set {name}," in note
    assert f"[{name} · " in note


def test_summary_of_a_folder_has_its_path_in_commands_alone(
    client: MlflowClient, make_stub: Trains, tmp_path: Path
) -> None:
    folder = class_folders(tmp_path / "my cells", {"a": 12, "b": 12})
    base = recipe(f"folder:{folder}")
    run_grid(plan_variants(base), Options(), [make_stub(outcome_of)])
    run = parent(client)
    assert re.fullmatch(
        r"my-cells-[0-9a-f]{6} · 7 variants · pooled split · 30 epochs", run.info.run_name
    )
    note = run.data.tags[NOTE_TAG]
    assert "Data set my-cells-" in note
    assert note.count(str(tmp_path)) == 2
    assert f"python -m pipelines.export --dataset 'folder:{folder}'" in note
