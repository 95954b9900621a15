"""The real command `python -m study.tpe`: killed, repeated, pruned; and its rules by themselves."""

import dataclasses
import importlib.util
import math
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import optuna
import psutil
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from study.common.errors import ConfigError
from study.common.errors import OutOfMemory
from study.common.errors import Pruned
from study.common.errors import StudyError
from study.common.errors import TrackingRefused
from study.common.errors import TrialFailed
from study.common.errors import WorkerDied
from study.config.trial_config import TrialConfig
from study.tpe import main
from study.tpe import parse_duration
from study.tpe import parse_fix
from study.variants import find_variant
from tests.support.commands import client_of
from tests.support.commands import finish
from tests.support.commands import finished_of
from tests.support.commands import history_of
from tests.support.commands import refusal
from tests.support.commands import run_here
from tests.support.commands import runs_of
from tests.support.commands import start
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.commands import wait_until
from tests.support.images import class_folders
from tests.support.training import ImagesChange
from tests.support.training import make_outcome
from tests.support.training import StubTraining

EPOCHS = 3
FLAGS = (*TINY, "--epochs", str(EPOCHS))


def studies(folder: Path) -> dict[str, optuna.Study]:
    storage = f"sqlite:///{folder}/study.db"
    names = [n for n in optuna.get_all_study_names(storage) if "-confirm-" not in n]
    return {name: optuna.load_study(study_name=name, storage=storage) for name in names}


def trial_runs(client: MlflowClient) -> list[Run]:
    """All runs but the parents, earliest first."""
    return [each for each in runs_of(client) if "study" not in each.data.tags]


@dataclasses.dataclass(frozen=True)
class Searched:
    """A folder in which a search was killed within its first trial and run again."""

    folder: Path
    client: MlflowClient
    begun: str  # the run that was killed
    output: str  # of the second call

    @property
    def study(self) -> optuna.Study:
        return next(iter(studies(self.folder).values()))


@pytest.fixture(scope="module")
def killed_and_repeated_search(
    empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Searched:
    folder = tmp_path_factory.mktemp("tpe")
    shutil.copy(empty_database, folder / "mlflow.db")
    client = client_of(folder)
    driver = start("study.tpe", *FLAGS, "--trials", "2", cwd=folder)
    try:
        wait_until(lambda: has_epoch(trial_runs(client)), driver)
        workers = psutil.Process(driver.pid).children(recursive=True)
    finally:
        driver.kill()
    finish(driver)
    psutil.wait_procs(workers, timeout=20)
    (begun,) = trial_runs(client)
    assert "finished" not in begun.data.tags
    output = succeed_here("study.tpe", *FLAGS, "--trials", "2", "--confirm", "1", cwd=folder)
    return Searched(folder, client, begun.info.run_id, output)


def has_epoch(runs: list[Run]) -> bool:
    return bool(runs) and "val_loss" in runs[0].data.metrics


def test_killed_search_continues_in_the_same_run(killed_and_repeated_search: Searched) -> None:
    run_ids = [each.info.run_id for each in trial_runs(killed_and_repeated_search.client)]
    assert run_ids[0] == killed_and_repeated_search.begun
    assert len(run_ids) == 3
    assert "  continuing after epoch " in killed_and_repeated_search.output
    begun = killed_and_repeated_search.client.get_run(killed_and_repeated_search.begun)
    steps = [step for step, _ in history_of(killed_and_repeated_search.client, begun, "val_loss")]
    assert steps == list(range(1, EPOCHS + 1))


def test_search_starts_with_the_variants_on_the_grouped_split(
    killed_and_repeated_search: Searched,
) -> None:
    runs = trial_runs(killed_and_repeated_search.client)
    searched = runs[:2]
    assert [each.data.tags["variant"] for each in searched] == ["1", "2"]
    assert {each.data.tags["role"] for each in searched} == {"search"}
    assert {each.data.params["split"] for each in runs} == {"grouped"}
    parents = {each.data.tags["mlflow.parentRunId"] for each in runs}
    assert len(parents) == 1
    assert "lr" not in killed_and_repeated_search.client.get_run(parents.pop()).data.params


def test_best_config_and_variant_1_are_trained_with_a_fresh_seed(
    killed_and_repeated_search: Searched,
) -> None:
    confirming = trial_runs(killed_and_repeated_search.client)[2:]
    assert {each.data.tags["role"] for each in confirming} == {"confirm"}
    assert {each.data.params["seed"] for each in confirming} == {"1"}
    best = killed_and_repeated_search.study.best_trial.user_attrs["run_ids"][0]
    best_variant = killed_and_repeated_search.client.get_run(best).data.tags["variant"]
    assert [each.data.tags["variant"] for each in confirming] == (
        ["1"] if best_variant == "1" else ["2", "1"]
    )


def test_optuna_trials_of_a_search_name_their_runs(killed_and_repeated_search: Searched) -> None:
    search = trial_runs(killed_and_repeated_search.client)[:2]
    complete = killed_and_repeated_search.study.get_trials(states=(TrialState.COMPLETE,))[:2]
    assert [t.user_attrs["run_ids"] for t in complete] == [[each.info.run_id] for each in search]
    assert [t.value for t in complete] == [each.data.metrics["val_accuracy"] for each in search]
    assert all(list(t.intermediate_values) == [1, 2, 3] for t in complete)


def test_search_shows_test_accuracies_at_its_end_alone(
    killed_and_repeated_search: Searched,
) -> None:
    lines = killed_and_repeated_search.output.splitlines()
    shown = [line for line in lines if "test accuracy" in line]
    assert shown[0].startswith("test accuracy of the best config with a fresh seed: ")
    start = "test accuracy of the search's first config (variant 1) with a fresh seed: "
    assert all(line.startswith(start) for line in shown[1:])
    after = lines[lines.index(shown[0]) :]
    assert not any("[1/2]" in line or "[2/2]" in line for line in after)


def test_search_names_its_best_config_with_the_command(
    killed_and_repeated_search: Searched,
) -> None:
    (line,) = (
        each for each in killed_and_repeated_search.output.splitlines() if "study.train" in each
    )
    assert " --split grouped " in line
    assert line.endswith(" --seed 2")
    assert "best of 2: val_accuracy " in killed_and_repeated_search.output


def test_repeated_search_trains_nothing(killed_and_repeated_search: Searched) -> None:
    runs = len(trial_runs(killed_and_repeated_search.client))
    flags = (*FLAGS, "--trials", "2", "--confirm", "1")
    output = succeed_here("study.tpe", *flags, cwd=killed_and_repeated_search.folder)
    assert "2 trials ended already" in output
    assert "0 trained by this call" in output
    assert "epoch 1/" not in output
    assert len(trial_runs(killed_and_repeated_search.client)) == runs


def test_search_with_a_fixed_field_reuses_earlier_runs(
    killed_and_repeated_search: Searched,
) -> None:
    flags = (*FLAGS, "--fix", "head=gap", "--trials", "2", "--confirm", "0")
    output = succeed_here("study.tpe", *flags, cwd=killed_and_repeated_search.folder)
    assert "2 trials ended already, 2 of them from earlier runs" in output
    assert "epoch 1/" not in output
    (new,) = (
        s
        for s in studies(killed_and_repeated_search.folder).values()
        if "head" not in s.trials[0].params
    )
    assert [t.intermediate_values.keys() for t in new.trials] == [{1, 2, 3}] * 2


def test_poor_trial_is_pruned_and_left_out_of_the_table(
    killed_and_repeated_search: Searched, tmp_path: Path
) -> None:
    for name in ("mlflow.db", "study.db"):  # copied, because the test adds to them
        shutil.copy(killed_and_repeated_search.folder / name, tmp_path)
    searched = dataclasses.replace(
        killed_and_repeated_search, folder=tmp_path, client=client_of(tmp_path)
    )
    study = searched.study
    for i in range(5):  # trials that were perfect while they ran
        study.add_trial(
            optuna.create_trial(
                value=0.0,
                params=study.trials[0].params,
                distributions=study.trials[0].distributions,
                user_attrs={"fingerprint": f"made up {i}"},
                intermediate_values=dict.fromkeys((1, 2, 3), 1.0),
            )
        )
    flags = (*FLAGS, "--trials", "8", "--confirm", "0")
    storage = f"sqlite:///{tmp_path}/study.db"  # a process keeps what a relative address named
    output = succeed_here("study.tpe", *flags, cwd=tmp_path, STUDY_STORAGE=storage)
    pruned = trial_runs(searched.client)[-1]
    assert pruned.data.tags["variant"] == "3"
    assert pruned.data.tags["pruned"].startswith("epoch 2: val_accuracy ")
    assert pruned.data.tags["pruned"].endswith(" below the median of earlier trials")
    assert pruned.data.tags["pruned"] in output
    assert pruned.data.tags["given_up"] == "pruned"
    assert "finished" not in pruned.data.tags
    assert pruned.info.status == "KILLED"
    assert study.trials[-1].state == TrialState.PRUNED
    succeed_here("pipelines.export", "--dataset", "demo", cwd=searched.folder)
    table = searched.folder / "exports" / "demo" / "comparison.csv"
    assert len(table.read_text().splitlines()) == 3  # a header, and variants 1 and 2


# --- without training -------------------------------------------------------------------------


def test_fix_flag_takes_a_searched_field_and_its_value() -> None:
    assert parse_fix(["lr=1e-5", "image-size=96"]) == {"lr": "1e-5", "image_size": "96"}
    with pytest.raises(ConfigError, match="not a searched field"):
        parse_fix(["epochs=3"])


def test_fix_given_twice_contradicts_only_with_another_value() -> None:
    assert parse_fix(["lr=1e-5", "lr=0.00001"]) == {"lr": "1e-5"}
    with pytest.raises(ConfigError, match="lr=2e-5 contradicts --fix lr=1e-5"):
        parse_fix(["lr=1e-5", "lr=2e-5"])


@pytest.mark.parametrize(("flag", "contradicts"), [("0.00001", False), ("2e-5", True)])
def test_fix_contradicts_a_flag_only_with_another_value(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    *,
    contradicts: bool,
) -> None:
    # A count that is out of range ends the command before it asks a server.
    flags = ["--lr", flag, "--fix", "lr=1e-5", "--seeds", "0"]
    monkeypatch.setattr("sys.argv", ["study.tpe", *flags])
    assert ("--fix lr=1e-5 contradicts --lr: leave one" in refusal(main, capsys)) == contradicts


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5h", 5400)])
def test_duration_with_a_unit_is_parsed_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


Command = Callable[..., tuple[int, list[TrialConfig], str]]


@pytest.fixture
def search_with_stub(empty_database: Path, tmp_path: Path) -> Command:
    """Runs the command with `train(config)` in place of training: exit code, configs, stderr."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")

    def search(
        *flags: str, train: Callable[[TrialConfig], float] = lambda c: c.lr
    ) -> tuple[int, list[TrialConfig], str]:
        worker = StubTraining(lambda config: make_outcome(train(config)))
        done = run_here("study.tpe", *flags, cwd=tmp_path, worker=worker)
        return done.returncode, worker.asked, done.stderr

    return search


def test_search_with_more_trials_continues_from_the_earlier(search_with_stub: Command) -> None:
    code, first, _ = search_with_stub("--trials", "9", "--confirm", "0")
    assert (code, len(first)) == (0, 9)
    code, more, _ = search_with_stub("--trials", "15", "--confirm", "2")
    assert len(more) == 6 + 2 + 2
    configs = first + more[:6]
    assert len(set(configs)) == 15
    best = max(configs, key=lambda config: config.lr)
    assert more[6:8] == [best.replace(seed=1), best.replace(seed=2)]
    assert more[8:] == [first[0].replace(seed=1), first[0].replace(seed=2)]


def test_images_that_change_before_a_trial_end_the_search(
    empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    root = class_folders(tmp_path / "cells", {"a": 12, "b": 12})
    flags = ("--dataset", f"folder:{root}", "--split", "pooled", "--weights", "none")
    worker = ImagesChange(lambda config: make_outcome(config.lr), root / "a" / "new.png")
    done = run_here("study.tpe", *flags, "--trials", "9", cwd=tmp_path, worker=worker)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: the images or groups of folder:{root} on {platform.node()} are not those that "
        "this command began with: repeat it when nobody changes them"
    )
    (study,) = studies(tmp_path).values()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert "reason" not in study.trials[1].user_attrs  # so it can be claimed again
    assert finished_of(client_of(tmp_path)) == []


def test_search_of_an_exhausted_space_ends(search_with_stub: Command) -> None:
    fixed = (
        *("lr=1e-3", "hidden_layers=1", "dense_units=8", "dropout=0.1", "batch_size=16"),
        *("trainable=1", "augment=0", "label_smoothing=0", "weight_decay=0"),
        "class_weights=none",
    )
    flags = [word for text in fixed for word in ("--fix", text)]
    code, asked, err = search_with_stub(*flags, "--trials", "30", "--confirm", "0")
    assert code == 0
    assert sorted((c.head, c.scaling) for c in asked) == [
        (head, scaling) for head in ("flatten", "gap") for scaling in ("1/255", "backbone")
    ]
    assert "the space is exhausted" in err


def test_interrupted_trial_comes_first_in_the_next_search(search_with_stub: Command) -> None:
    def interrupted(config: TrialConfig) -> float:
        if config.lr > 4e-3:  # variant 6
            raise KeyboardInterrupt
        return 0.5

    code, first, err = search_with_stub("--trials", "9", train=interrupted)
    assert code == 130
    assert len(first) == 6
    assert "best of 5: val_accuracy 0.5" in err
    _, then, _ = search_with_stub("--trials", "7", "--confirm", "0")
    assert [find_variant(config) for config in then] == [6, 7]


def test_pruned_trials_count_and_failed_ones_do_not(search_with_stub: Command) -> None:
    def train(config: TrialConfig) -> float:
        if find_variant(config) == 2:
            raise TrialFailed("it was too large")
        if find_variant(config) == 3:
            raise Pruned("epoch 4: too bad")
        return 0.5

    code, asked, err = search_with_stub("--trials", "4", "--confirm", "0", train=train)
    assert code == 0
    assert [find_variant(config) for config in asked][:3] == [1, 2, 3]
    assert "failed: it was too large" in err
    assert "pruned at epoch 4: too bad" in err
    assert "best of 4" in err


def test_config_whose_process_dies_is_tried_ten_times(search_with_stub: Command) -> None:
    def train(config: TrialConfig) -> float:
        if find_variant(config) == 2:
            raise OutOfMemory("no memory")
        if find_variant(config) == 3:
            raise WorkerDied("it was killed")
        return 0.5

    code, asked, err = search_with_stub("--trials", "3", "--confirm", "0", train=train)
    assert code == 0
    assert [find_variant(config) for config in asked] == [1, 2, 2, *[3] * 10, 4, 5]
    assert err.count("it was killed; it will be tried again") == 9
    assert err.count("failed: it was killed") == err.count("failed: no memory") == 1


def test_search_in_which_all_trials_fail_ends_with_one_error(search_with_stub: Command) -> None:
    def fail(_: TrialConfig) -> float:
        raise TrialFailed("no memory")

    code, asked, err = search_with_stub("--trials", "40", train=fail)
    assert (code, len(asked)) == (2, 5)
    assert "error: 5 trials failed in a row, the last one: no memory" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [StudyError, TrackingRefused])
def test_error_that_every_trial_would_meet_ends_the_search_at_once(
    search_with_stub: Command, error: type[StudyError]
) -> None:
    def fail(_: TrialConfig) -> float:
        raise error("no weights: copy them here")

    code, asked, err = search_with_stub("--trials", "40", train=fail)
    assert (code, len(asked)) == (2, 1)
    assert "error: no weights: copy them here" in err
    _, then, _ = search_with_stub("--trials", "1", "--confirm", "0")
    assert then == asked


def test_search_until_converged_ends_20_trials_after_its_best(search_with_stub: Command) -> None:
    code, asked, err = search_with_stub("--until-converged", "--confirm", "0", train=lambda _: 0.5)
    assert code == 0
    assert len(asked) == 21  # none is better than the first
    assert "no improvement in 20 trials" in err


def test_search_for_loss_minimizes_it(search_with_stub: Command) -> None:
    code, asked, err = search_with_stub("--objective", "loss", "--trials", "8", "--confirm", "1")
    assert code == 0
    best = max(asked[:8], key=lambda config: config.lr)  # the stub's loss is 1 - lr
    assert asked[8] == best.replace(seed=1)
    assert "val_loss 0.9" in err


@pytest.mark.parametrize(("objective", "divisor"), [("auc", 2), ("balanced_accuracy", 4)])
def test_search_for_another_figure_maximizes_it(
    search_with_stub: Command, tmp_path: Path, objective: str, divisor: int
) -> None:
    flags = ("--objective", objective, "--trials", "8", "--confirm", "1")
    code, asked, err = search_with_stub(*flags)
    assert code == 0
    best = max(asked[:8], key=lambda config: config.lr)
    assert asked[8] == best.replace(seed=1)
    assert f"best of 8: val_{objective} {best.lr / divisor:.4f}" in err
    (study,) = studies(tmp_path).values()
    assert study.best_value == best.lr / divisor


def test_config_worse_on_its_first_seed_gets_no_second(
    search_with_stub: Command, tmp_path: Path
) -> None:
    noise = {(1, 0): 0.01, (2, 1): 0.02, (4, 2): 0.03}  # of variant and seed

    def train(config: TrialConfig) -> float:
        number = find_variant(config.replace(seed=0)) or 0
        if number == 3:
            return 0.1
        return 0.8 + 0.05 * config.seed + noise.get((number, config.seed), 0.0)

    fresh = [(4, 3), (4, 4), (1, 3), (1, 4)]
    flags = ("--seeds", "3", "--trials", "4", "--confirm", "2")
    code, asked, err = search_with_stub(*flags, train=train)
    assert code == 0
    seeds = [(find_variant(config.replace(seed=0)), config.seed) for config in asked]
    good = [(number, seed) for number in (1, 2) for seed in (0, 1, 2)]
    assert seeds == [*good, (3, 0), (4, 0), (4, 1), (4, 2), *fresh]
    (line,) = (line for line in err.splitlines() if "pruned at" in line)
    assert "seed 1: 0.7" in line
    assert "worse than the best on the same seeds" in line
    (study,) = studies(tmp_path).values()
    values = [t.value for t in study.get_trials(states=(TrialState.COMPLETE,))]
    assert values == pytest.approx([0.85 + 0.01 / 3, 0.85 + 0.02 / 3, 0.85 + 0.03 / 3])
    assert f"best of 4: val_accuracy {values[-1]:.4f}" in err


def test_config_without_the_objective_fails_and_is_not_pruned(search_with_stub: Command) -> None:
    def train(config: TrialConfig) -> float:
        return math.nan if find_variant(config.replace(seed=0)) == 3 else 0.8 + config.lr

    flags = ("--objective", "auc", "--seeds", "2", "--trials", "4", "--confirm", "0")
    code, asked, err = search_with_stub(*flags, train=train)
    assert code == 0
    seeds = [(find_variant(config.replace(seed=0)), config.seed) for config in asked]
    assert seeds == [*((k, seed) for k in (1, 2) for seed in (0, 1)), (3, 0),
                     *((k, seed) for k in (4, 5) for seed in (0, 1))]  # fmt: skip
    assert "pruned" not in err
    assert "failed: run run has no val_auc: validation lacks a class, or an" in err


def test_search_in_which_no_config_has_the_objective_ends(search_with_stub: Command) -> None:
    code, asked, err = search_with_stub("--objective", "auc", train=lambda _: math.nan)
    assert (code, len(asked)) == (2, 5)
    assert "error: 5 trials failed in a row, the last one: run run has no val_auc" in err


def test_win_that_does_not_repeat_is_said_and_not_registered(
    search_with_stub: Command, tmp_path: Path
) -> None:
    def train(config: TrialConfig) -> float:
        is_start = find_variant(config) == 1
        if config.seed > 0:
            return 0.5 if is_start else 0.4
        return 0.6 if is_start else 0.8

    flags = ("--trials", "7", "--confirm", "2")
    code, _, said = search_with_stub(*flags, train=train)
    doubt = (
        "with fresh seeds, its validation accuracy is 0.4000, worse than the 0.5000 of the "
        "search's first config (variant 1) with the same seeds"
    )
    assert code == 0
    assert f"the win did not repeat: {doubt}" in said
    (parent,) = runs_of(client_of(tmp_path))
    assert f"**The win did not repeat:** {doubt}." in parent.data.tags["mlflow.note.content"]
    code, _, said = search_with_stub(*flags, "--register", train=train)
    assert code == 2
    assert "no model is registered, because the win did not repeat; --force" in said


def test_win_on_harder_splits_is_judged_against_variant_1_on_the_same_splits(
    search_with_stub: Command,
) -> None:
    def train(config: TrialConfig) -> float:
        gain = 0.0 if find_variant(config) == 1 else 0.1
        return gain + (0.5 if config.seed > 0 else 0.8)

    _, asked, said = search_with_stub("--trials", "7", "--confirm", "2", train=train)
    assert "did not repeat" not in said
    assert [(find_variant(each), each.seed) for each in asked[7:]] == [
        *((2, 1), (2, 2)),
        *((1, 1), (1, 2)),
    ]


def test_start_that_wins_is_confirmed_once(search_with_stub: Command) -> None:
    _, asked, said = search_with_stub(
        "--trials", "7", "--confirm", "2", train=lambda c: 0.9 if find_variant(c) == 1 else 0.8
    )
    assert [(find_variant(each), each.seed) for each in asked[7:]] == [(1, 1), (1, 2)]
    assert "did not repeat" not in said


def test_search_starts_no_trial_after_its_timeout(
    monkeypatch: pytest.MonkeyPatch, search_with_stub: Command
) -> None:
    def train(_: TrialConfig) -> float:
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 7200)
        monkeypatch.setattr("study.search.search_scheduler.time", clock)
        return 0.5

    code, asked, err = search_with_stub("--timeout", "1h", "--confirm", "0", train=train)
    assert (code, len(asked)) == (0, 1)
    assert "the time is up; 1 trained by this call" in err


@pytest.mark.parametrize(("sampler", "package"), [("gp", "torch"), ("cmaes", "cmaes")])
def test_sampler_without_its_package_is_refused_with_the_name(
    monkeypatch: pytest.MonkeyPatch, search_with_stub: Command, sampler: str, package: str
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == package else find_spec(name)
    )
    code, _, err = search_with_stub("--sampler", sampler)
    assert code == 2
    assert f"needs the package {package}" in err


def test_search_on_data_without_groups_asks_for_another_split(
    monkeypatch: pytest.MonkeyPatch, search_with_stub: Command
) -> None:
    monkeypatch.setattr("study.search.run_search.has_groups", lambda _: False)
    code, _, err = search_with_stub()
    assert code == 2
    assert "add --split pooled or --split official" in err
    assert search_with_stub("--split", "pooled", "--trials", "2", "--confirm", "0")[0] == 0
