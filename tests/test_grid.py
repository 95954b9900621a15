"""The real command `python -m study.grid`: seven trials, killed, repeated, failing in part."""

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from study.common.command import run_command
from study.config.trial_config import recipe
from study.grid import main
from study.job import Options
from study.search.grid_plan import Cell
from study.search.grid_plan import plan_variants
from study.search.grid_plan import variant_setting
from study.search.run_grid import make_grid
from study.search.run_grid import run_grid
from study.variants import find_variant
from study.variants import VARIANTS
from tests.support.commands import client_of
from tests.support.commands import finish
from tests.support.commands import run_here
from tests.support.commands import runs_of
from tests.support.commands import start
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.commands import wait_until
from tests.support.training import make_outcome
from tests.support.training import StubTraining

FLAGS = (*TINY, "--epochs", "1", "--limit", "60")
NUMBERS = [str(variant.number) for variant in VARIANTS]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A folder in which the grid was run, killed on the way, and run again."""

    folder: Path
    client: MlflowClient
    finished_when_killed: list[str]  # run ids
    output: str  # of the second call

    def runs(self) -> tuple[Run, dict[str, list[Run]]]:
        """The parent, and its children by variant."""
        runs = runs_of(self.client)
        (parent,) = (each for each in runs if "study" in each.data.tags)
        children: dict[str, list[Run]] = {number: [] for number in NUMBERS}
        for child in (each for each in runs if each is not parent):
            assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
            children[child.data.tags["variant"]].append(child)
        return parent, children

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        (study,) = optuna.get_all_study_names(f"sqlite:///{self.folder}/study.db")
        storage = f"sqlite:///{self.folder}/study.db"
        return optuna.load_study(study_name=study, storage=storage).trials


def finished_ids(client: MlflowClient) -> list[str]:
    return [r.info.run_id for r in runs_of(client) if r.data.tags.get("finished") == "true"]


@pytest.fixture(scope="module")
def trained(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("grid")
    shutil.copy(empty_database, folder / "mlflow.db")
    client = client_of(folder)
    driver = start("study.grid", *FLAGS, cwd=folder)
    try:
        wait_until(lambda: len(finished_ids(client)) >= 2, driver)
        workers = psutil.Process(driver.pid).children(recursive=True)
    finally:
        driver.kill()
    finish(driver)
    psutil.wait_procs(workers, timeout=20)
    finished = finished_ids(client)
    output = succeed_here("study.grid", *FLAGS, cwd=folder)
    return Trained(folder, client, finished, output)


def test_killed_grid_continues_where_it_stopped(trained: Trained) -> None:
    before = len(trained.finished_when_killed)
    assert 2 <= before < 7
    assert f"7 trials, {before} finished already" in trained.output
    assert "7 of 7 finished" in trained.output
    assert set(trained.finished_when_killed) <= set(finished_ids(trained.client))


def test_every_variant_is_one_finished_child_of_one_parent(trained: Trained) -> None:
    parent, children = trained.runs()
    assert parent.info.status == "FINISHED"
    for number in NUMBERS:
        (child,) = children[number]
        assert child.info.status == "FINISHED"
        assert child.data.tags["finished"] == "true"


def test_child_runs_differ_in_the_fields_of_their_variants(trained: Trained) -> None:
    _, children = trained.runs()
    base = recipe("demo")
    for variant in VARIANTS:
        (child,) = children[str(variant.number)]
        params = child.data.params
        assert params["hidden_layers"] == str(variant.hidden_layers)
        assert params["dense_units"] == str(variant.dense_units)
        assert float(params["lr"]) == pytest.approx(base.lr * variant.lr_factor)
        assert (params["image_size"], params["epochs"], params["limit"]) == ("32", "1", "60")


def test_grid_progress_counts_the_trials(trained: Trained) -> None:
    assert "[7/7] demo" in trained.output
    assert "[8/7]" not in trained.output
    assert "about " in trained.output
    assert "python -m pipelines.export --dataset demo" in trained.output


def test_grid_on_a_leaking_set_warns_once(trained: Trained) -> None:
    warnings = re.findall("warning: (.*)", trained.output)
    # what each training learned is said of each
    of_images = [text for text in warnings if "image is classified as" not in text]
    assert len(set(of_images)) == len(of_images)
    assert trained.output.count("test images have a sibling") == 1


def test_optuna_trials_of_a_grid_name_their_runs(trained: Trained) -> None:
    _, children = trained.runs()
    for trial in trained.trials():
        assert trial.state in (TrialState.COMPLETE, TrialState.FAIL)
        if trial.state == TrialState.COMPLETE:
            (child,) = children[str(trial.params["variant"])]
            assert trial.user_attrs["run_id"] == child.info.run_id
            assert trial.value == child.data.metrics["val_accuracy"]


def test_optuna_trials_of_a_killed_grid_are_complete_at_its_end(trained: Trained) -> None:
    complete = {
        str(trial.params["variant"])
        for trial in trained.trials()
        if trial.state == TrialState.COMPLETE
    }
    assert sorted(complete) == NUMBERS


def test_repeated_grid_trains_nothing(trained: Trained) -> None:
    before = runs_of(trained.client)
    output = succeed_here("study.grid", *FLAGS, cwd=trained.folder)
    assert "7 trials, 7 finished already" in output
    assert "epoch" not in output
    after = runs_of(trained.client)
    assert [r.info.run_id for r in after] == [r.info.run_id for r in before]
    assert [r.info.end_time for r in after] == [r.info.end_time for r in before]


def test_failed_cell_stops_no_other_and_is_tried_again(
    trained: Trained, session_cache: Path, tmp_path: Path
) -> None:
    for name in ("mlflow.db", "study.db"):  # copied, because the test deletes runs
        shutil.copy(trained.folder / name, tmp_path)
    trained = dataclasses.replace(trained, folder=tmp_path, client=client_of(tmp_path))
    _, before = trained.runs()
    for number in ("3", "5"):
        trained.client.delete_run(before[number][0].info.run_id)
    folder = session_cache / "trials" / before["3"][0].data.tags["fingerprint"]
    obstacle = folder / "state.npz"  # a folder where the trial's checkpoint would be
    obstacle.mkdir(parents=True)

    broken = run_here("study.grid", *FLAGS, cwd=trained.folder)
    assert broken.returncode == 2
    assert "Traceback" not in broken.stderr
    assert "variant 3 with seed 0 failed: " in broken.stderr
    assert "6 of 7 finished" in broken.stderr
    assert "error: 1 of 7 trials failed, such as variant 3" in broken.stderr
    assert "Repeat the command" in broken.stderr.splitlines()[-1]
    parent, halfway = trained.runs()
    assert [run.info.status for run in halfway["3"]] == ["FAILED"]
    trained.client.delete_run(halfway["3"][0].info.run_id)
    assert [len(halfway[number]) for number in NUMBERS] == [1] * 7
    assert halfway["5"][0].info.run_id != before["5"][0].info.run_id

    obstacle.rmdir()
    mended = succeed_here("study.grid", *FLAGS, cwd=trained.folder)
    assert "7 trials, 6 finished already" in mended
    assert mended.count("epoch 1/1") == 1
    _, after = trained.runs()
    assert [len(after[number]) for number in NUMBERS] == [1] * 7
    for number in ("3", "5"):
        figures, same = after[number][0].data.metrics, before[number][0].data.metrics
        assert figures["test_loss"] == same["test_loss"]
    assert trained.runs()[0].info.run_id == parent.info.run_id


# --- without training -------------------------------------------------------------------------


def test_grid_has_a_cell_per_variant_and_seed() -> None:
    base = recipe("chest").replace(seed=5)
    grid = make_grid(plan_variants(base, 3), "digest")
    assert len(grid.configs) == len(set(grid.keys.values())) == 21
    for cell, config in grid.configs.items():
        assert Cell(variant_setting(find_variant(config) or 0), config.seed) == cell
    assert {name: list(values) for name, values in grid.plan.space.items()} == {
        "variant": [1, 2, 3, 4, 5, 6, 7],
        "seed": [5, 6, 7],
    }


def test_grid_without_seeds_varies_the_variant_alone() -> None:
    base = recipe("chest").replace(seed=5)
    grid = make_grid(plan_variants(base), "digest")
    assert grid.plan.space == {"variant": (1, 2, 3, 4, 5, 6, 7)}
    assert {cell.seed for cell in grid.configs} == {5}


FOLDED = recipe("demo").replace(split="grouped", fold=1, folds=3)


def test_grid_of_every_fold_has_a_cell_per_fold() -> None:
    grid = make_grid(plan_variants(FOLDED, 2, every_fold=True), "digest")
    assert len(grid.configs) == len(set(grid.keys.values())) == 7 * 2 * 3
    for cell, config in grid.configs.items():
        assert Cell(variant_setting(find_variant(config) or 0), config.seed, config.fold) == cell
        assert config.folds == 3
    one = make_grid(plan_variants(FOLDED.replace(fold=2)), "digest")
    assert {cell.fold for cell in one.configs} == {2}
    assert one.name == grid.name
    assert str(Cell(variant_setting(3), 0)) == "variant 3 with seed 0"
    assert str(Cell(variant_setting(3), 0, 2)) == "variant 3 with seed 0 and fold 2"


@pytest.mark.parametrize(
    ("flags", "folds"),
    [
        (("--folds", "3"), [1, 2, 3]),
        (("--folds", "3", "--fold", "2"), [2]),
        (("--folds", "0"), [0]),
        ((), [0]),
    ],
)
def test_folds_flag_without_a_fold_trains_all_folds(
    monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], folds: list[int]
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("study.search.run_grid.run_grid", lambda *args: asked.append(args))
    monkeypatch.setattr("study.search.grid_result.print_result", lambda _: None)
    monkeypatch.setattr("sys.argv", ["study.grid", "--split", "grouped", *flags])
    assert run_command(main) == 0
    ((plan, *_),) = asked
    assert sorted({cell.fold for cell in plan.make_configs()}) == folds


@pytest.fixture
def stub(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StubTraining:
    """A worker for which all configs are equally good, and an empty folder to work in."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return StubTraining(lambda _: make_outcome(0.5))


def test_grid_of_every_fold_trains_each_once(stub: StubTraining) -> None:
    run_grid(plan_variants(FOLDED, every_fold=True), Options(), [stub])
    cells = [(find_variant(config), config.fold) for config in stub.asked]
    assert sorted(cells, key=str) == [(k, fold) for k in range(1, 8) for fold in (1, 2, 3)]


def test_later_grid_with_more_seeds_trains_the_new_ones(stub: StubTraining) -> None:
    base = recipe("demo")
    for seeds in (1, 2):
        stub.asked.clear()
        session = run_grid(plan_variants(base, seeds), Options(), [stub])
        assert not session.failed
        assert {config.seed for config in stub.asked} == set(range(seeds))
        assert len(stub.asked) == 7 * seeds


def test_grid_name_depends_on_the_config_and_the_data() -> None:
    base = recipe("chest")
    name = plan_variants(base).name("digest")
    assert name == "grid-chest-224px-30ep-ed9077b4"
    others = {
        plan_variants(base.replace(dropout=0.1)).name("digest"),
        plan_variants(base.replace(epochs=2)).name("digest"),
        plan_variants(recipe("blood")).name("digest"),
        plan_variants(base).name("other"),
    }
    assert len(others) == 4
    assert name not in others


def test_grid_on_an_impossible_split_ends_with_one_error(
    empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    done = run_here("study.grid", *FLAGS, "--split", "grouped", "--folds", "400", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("failed") == 0
    assert "error: " in done.stderr.splitlines()[-1]
    client = client_of(tmp_path)
    assert len([run for run in runs_of(client) if "study" not in run.data.tags]) == 0


def test_grid_without_its_optuna_storage_is_an_error_of_two_lines(
    empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    storage = "sqlite:////nowhere/at/all/study.db"
    done = run_here("study.grid", *FLAGS, cwd=tmp_path, STUDY_STORAGE=storage)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert "/nowhere/at/all/study.db" in done.stderr
    assert "STUDY_STORAGE" in done.stderr
