"""The real command `python -m study.train`, and what it leaves in MLflow."""

import dataclasses
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import DEFAULT
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from PIL import Image

from study.common.command import run_command
from study.common.errors import TrackingError
from study.common.progress import Progress
from study.config.fingerprint import fingerprint
from study.config.names import make_trial_title
from study.config.trial_config import TrialConfig
from study.data.groups_file import format_groups_csv
from study.data.prepare import compute_data_digest
from study.data.prepare import prepare
from study.data.split import count_test_groups
from study.data.split import make_split
from study.job import Options
from study.tracking import connection
from study.tracking.queries import find_runs
from study.train import main
from study.trial.prepare import format_leak
from study.trial.prepare import measure_independence
from study.trial.prepare import prepare_trial
from study.trial.prepare import PreparedTrial
from study.trial.record import train_and_record
from study.variants import resolve_config
from tests.support.commands import client_of
from tests.support.commands import history_of
from tests.support.commands import run_here
from tests.support.commands import runs_of
from tests.support.commands import succeed
from tests.support.commands import succeed_here
from tests.support.commands import TINY
from tests.support.images import class_folders
from tests.support.servers import free_port

FLAGS = (*TINY, "--variant", "4", "--epochs", "2", "--dense-units", "12")
CONFIG = resolve_config(
    "demo",
    4,
    {
        **{"image_size": 32, "alpha": 0.25, "weights": "none", "limit": 80, "batch_size": 16},
        **{"epochs": 2, "dense_units": 12},
    },
)
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "epoch_seconds")
FINAL = (
    *("test_loss", "test_accuracy", "fit_seconds", "total_seconds", "images_per_second"),
    *("dead_units", "hidden_units", "epochs_run", "leak_fraction", "test_groups"),
    "majority_fraction",
)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A folder in which one config was trained."""

    folder: Path
    client: MlflowClient
    output: str  # on stderr

    @property
    def run(self) -> Run:
        (found,) = runs_of(self.client)
        return found

    def artifact(self, name: str) -> Path:
        return Path(self.client.download_artifacts(self.run.info.run_id, name))


@pytest.fixture(scope="module")
def trained(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_database, folder / "mlflow.db")
    output = succeed("study.train", *FLAGS, cwd=folder)
    return Trained(folder, client_of(folder), output)


@pytest.fixture(scope="module")
def predictions(trained: Trained) -> pd.DataFrame:
    return pd.read_parquet(trained.artifact("predictions.parquet"))


def probabilities(table: pd.DataFrame) -> np.ndarray:
    return table[[name for name in table if name.startswith("p_")]].to_numpy()


def test_train_records_one_finished_run(trained: Trained) -> None:
    assert trained.run.info.status == "FINISHED"
    assert trained.run.info.run_name == make_trial_title(CONFIG, "")
    experiment = trained.client.get_experiment(trained.run.info.experiment_id)
    assert experiment.name == "demo"


def test_run_params_are_the_config(trained: Trained) -> None:
    expected = {name: str(value) for name, value in CONFIG.as_dict().items()}
    assert trained.run.data.params == expected


def test_run_tags_name_the_config_and_the_data(trained: Trained) -> None:
    tags, digest = trained.run.data.tags, compute_data_digest("demo")
    assert tags["fingerprint"] == fingerprint(CONFIG, digest)
    assert tags["data_digest"] == digest
    assert (tags["dataset"], tags["split"], tags["weights_kind"]) == ("demo", "pooled", "none")
    assert tags["variant"] == "none"  # a variant has 8 units in two layers, this one 12
    assert tags["finished"] == "true"
    assert tags["skipped"] == "0"
    assert tags["code_version"]


def test_run_sizes_and_leak_are_those_of_the_split(trained: Trained) -> None:
    split = make_split(prepare("demo", 32), "pooled", 0, 80)
    tags = trained.run.data.tags
    assert tags["sizes"] == f"{len(split.train)}/{len(split.val)}/{len(split.test)}"
    leaking, of_test = tags["leak"].split("/")
    assert 0 < int(leaking) <= int(of_test) == len(split.test)
    assert f"warning: {leaking} of {of_test} test images have a sibling" in trained.output
    figures = trained.run.data.metrics
    labels = prepare("demo", 32).y[split.test]
    assert figures["majority_fraction"] == np.bincount(labels).max() / len(labels)
    assert figures["leak_fraction"] == int(leaking) / int(of_test)
    assert figures["test_groups"] == count_test_groups(prepare("demo", 32), split)


def test_trial_with_unknown_groups_logs_no_leak() -> None:
    data = dataclasses.replace(prepare("demo", 32), groups=None)
    trial = PreparedTrial(CONFIG, data, make_split(data, "pooled", 0), Progress())
    assert measure_independence(trial) == {}


@pytest.mark.parametrize(("hidden", "part"), [(False, "test"), (True, "validation")])
def test_training_that_calls_all_images_the_same_is_warned_of(
    hidden: bool,
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = prepare("demo", 32)
    trial = PreparedTrial(CONFIG, data, make_split(data, "pooled", 0), Progress())
    right = np.eye(len(data.classes))[data.y]
    first_class = np.eye(len(data.classes))[np.zeros_like(data.y)]
    result = SimpleNamespace(
        figures={},
        history=[{"epoch": 1, "loss": 1, "accuracy": 1, "val_loss": 1, "val_accuracy": 1}],
        val_probabilities=(first_class if hidden else right)[trial.split.val],
        test_probabilities=(right if hidden else first_class)[trial.split.test],
    )
    monkeypatch.setattr("study.trial.record._fit", lambda *_: (result, 0.0))
    log = Mock(new_folder=lambda: tmp_path)
    train_and_record(trial, log, tmp_path, 0.0, Options(hide_test_metrics=hidden))
    warning = f"warning: every {part} image is classified as {data.classes[0]}, so this training"
    printed = capsys.readouterr().err
    assert warning in printed
    assert printed.count("warning") == 1


def test_groups_of_near_duplicates_alone_give_the_least_that_leaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = class_folders(tmp_path / "my cells", {"a": 20, "b": 20})
    config = CONFIG.replace(dataset=f"folder:{root}", limit=0)
    names = [f"{label}/{number:03}.png" for label in "ab" for number in range(20)]
    leaks = {}
    for size in (1, 4):
        group_of = {name: f"near-{number // size}" for number, name in enumerate(names)}
        (root / "groups.csv").write_text(format_groups_csv(group_of, "near-duplicates"))
        monkeypatch.setattr("study.data.warnings._warned", set())
        trial = prepare_trial(config, Progress(), use_cache=False)
        assert measure_independence(trial) == {}  # nobody knows
        leaks[format_leak(trial)] = " ".join(capsys.readouterr().err.split())
    nothing, something = leaks
    assert nothing == "unknown"
    assert "no test image has a near-duplicate in train, but" in leaks[nothing]
    assert f"python -m study.data.audit --dataset 'folder:{root}'" in leaks[nothing]
    assert something.startswith("at least ")
    assert f"warning: {something.replace('/', ' of ')} test images" in leaks[something]


def test_leak_warning_is_printed_once_per_process_and_split(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.data.warnings._warned", set())
    for config in (CONFIG, CONFIG.replace(seed=1), CONFIG.replace(dense_units=8)):
        prepare_trial(config, Progress(), use_cache=True)
    assert capsys.readouterr().err.count("test images have a sibling") == 1
    prepare_trial(CONFIG.replace(limit=100), Progress(), use_cache=True)
    assert capsys.readouterr().err.count("test images have a sibling") == 1


def test_unusual_images_are_counted_and_one_is_named_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = class_folders(tmp_path, {"a": 10, "b": 10})
    for name in ("x.png", "y.png"):
        Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(root / "b" / name)
    config = CONFIG.replace(dataset=f"folder:{root}")
    prepare_trial(config, Progress(), use_cache=False)
    line = "2 of 22 images are unusual: transparency is ignored (such as b/x.png)"
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("name", CURVES)
def test_run_curve_has_one_point_per_epoch(trained: Trained, name: str) -> None:
    assert [step for step, _ in history_of(trained.client, trained.run, name)] == [1, 2]


@pytest.mark.parametrize("name", FINAL)
def test_run_final_figure_has_one_point(trained: Trained, name: str) -> None:
    assert [step for step, _ in history_of(trained.client, trained.run, name)] == [0]


def test_run_times_fit_into_each_other(trained: Trained) -> None:
    figures = trained.run.data.metrics
    epochs = [value for _, value in history_of(trained.client, trained.run, "epoch_seconds")]
    assert figures["fit_seconds"] == pytest.approx(sum(epochs))
    assert figures["total_seconds"] > figures["fit_seconds"]
    assert figures["hidden_units"] == 24
    assert 0 <= figures["dead_units"] <= 24


def test_run_has_the_data_set_as_input(trained: Trained) -> None:
    (used,) = trained.run.inputs.dataset_inputs
    assert used.dataset.name == "demo"
    assert compute_data_digest("demo").startswith(used.dataset.digest)
    assert [tag.value for tag in used.tags] == ["training"]


def test_predictions_have_a_row_per_image_of_val_and_test(predictions: pd.DataFrame) -> None:
    data = prepare("demo", 32)
    split = make_split(data, "pooled", 0, 80)
    for part in ("val", "test"):
        rows, table = getattr(split, part), predictions[predictions["split"] == part]
        assert table["image"].tolist() == [data.images[row] for row in rows]
        assert table["label"].tolist() == [data.classes[data.y[row]] for row in rows]
        assert data.groups is not None
        assert table["group"].tolist() == [data.groups[row] for row in rows]
    assert len(predictions) == len(split.val) + len(split.test)
    assert [n for n in predictions if n.startswith("p_")] == [f"p_{n}" for n in data.classes]
    np.testing.assert_allclose(probabilities(predictions).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("part", ["val", "test"])
def test_run_figures_follow_from_the_predictions(
    trained: Trained, predictions: pd.DataFrame, part: str
) -> None:
    table = predictions[predictions["split"] == part]
    names = [name for name in table if name.startswith("p_")]
    guessed = np.array([name.removeprefix("p_") for name in names])
    right = guessed[probabilities(table).argmax(axis=1)] == table["label"]
    picked = [table.loc[row, f"p_{label}"] for row, label in table["label"].items()]
    figures = trained.run.data.metrics
    assert figures[f"{part}_accuracy"] == pytest.approx(right.mean())
    assert figures[f"{part}_loss"] == pytest.approx(-np.log(picked).mean(), rel=1e-4)


def test_run_has_the_config_as_json(trained: Trained) -> None:
    text = trained.artifact("config.json").read_text(encoding="utf-8")
    assert TrialConfig(**json.loads(text)) == CONFIG


def test_run_has_the_history_as_csv(trained: Trained) -> None:
    table = pd.read_csv(trained.artifact("history.csv"))
    assert table["epoch"].tolist() == [1, 2]
    for column, name in (("loss", "train_loss"), ("val_accuracy", "val_accuracy")):
        logged = [value for _, value in history_of(trained.client, trained.run, name)]
        assert table[column].tolist() == pytest.approx(logged)


def test_run_has_its_curves_as_a_picture(trained: Trained) -> None:
    picture = Image.open(io.BytesIO(trained.artifact("curves.png").read_bytes()))
    assert picture.format == "PNG"
    assert picture.width > picture.height > 200


def test_progress_in_a_log_file_is_plain_lines(trained: Trained) -> None:
    lines = trained.output.splitlines()
    assert "\x1b" not in trained.output
    assert lines[0] == make_trial_title(CONFIG, "")
    assert [line[:11] for line in lines if "val_loss" in line] == ["  epoch 1/2", "  epoch 2/2"]
    assert trained.run.info.run_id in lines[-1]


def test_finished_trial_leaves_no_checkpoint(trained: Trained, session_cache: Path) -> None:
    assert not (session_cache / "trials" / trained.run.data.tags["fingerprint"]).exists()


def test_finished_config_is_not_trained_again(trained: Trained) -> None:
    spelled = (*FLAGS, "--patience", "0", "--no-cache")
    output = succeed_here("study.train", *spelled, cwd=trained.folder)
    assert "already finished" in output
    assert trained.run.info.run_id in output
    assert "epoch 1/" not in output
    assert "epoch  1/" not in output


def test_new_groups_file_does_not_train_the_pooled_split_again(
    empty_database: Path, tmp_path: Path
) -> None:
    root = class_folders(tmp_path / "cells", {"a": 12, "b": 12})
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    flags = (*TINY, "--epochs", "1", "--dataset", f"folder:{root}", "--split", "pooled")
    succeed_here("study.train", *flags, cwd=tmp_path)
    names = [f"{label}/{number:03}.png" for label in "ab" for number in range(12)]
    lines = ["image,group", *(f"{name},{name[:-4]}" for name in names)]
    (root / "groups.csv").write_text("\n".join(lines))
    output = succeed_here("study.train", *flags, cwd=tmp_path)
    assert "already finished" in output
    (run,) = runs_of(client_of(tmp_path))
    assert (
        "warning: this run was recorded when no groups were known, so its leak is unknown, and its "
        "interval takes all test images as independent: delete run "
        f"{run.info.run_id} in MLflow and repeat the command to measure both"
    ) in output


def test_images_that_change_before_they_are_read_are_not_recorded_as_the_old_ones(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "cells", {"a": 12, "b": 12})
    shutil.copy(empty_database, tmp_path / "mlflow.db")

    def add_image_and_find_runs(client: MlflowClient, key: str) -> list[Run]:
        shutil.copy(root / "a" / "000.png", root / "a" / "new.png")
        return find_runs(client, key)

    monkeypatch.setattr("study.trial.train_config._deliver_and_find_runs", add_image_and_find_runs)
    done = run_here(
        "study.train", *TINY, "--epochs", "1", "--dataset", f"folder:{root}", cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: the images or groups of folder:{root} changed after this command began: repeat it "
        "when nobody changes them"
    )
    assert runs_of(client_of(tmp_path)) == []


@dataclasses.dataclass(frozen=True)
class Again:
    """The same config trained once more, in a copy of the folder."""

    client: MlflowClient
    first: Run
    second: Run
    output: str
    folder: Path
    touched: set[Path]  # files of the cache


@pytest.fixture(scope="module")
def again(trained: Trained, tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Again:
    folder = tmp_path_factory.mktemp("again")
    shutil.copy(trained.folder / "mlflow.db", folder)
    before = times_of(session_cache)
    flags = (*FLAGS, "--again", "--no-cache")
    output = succeed_here("study.train", *flags, cwd=folder)
    after = times_of(session_cache)
    touched = {path for path in after if after[path] != before.get(path)}
    first, second = runs_of(client_of(folder))
    return Again(client_of(folder), first, second, output, folder, touched)


def times_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_again_flag_trains_to_the_same_figures(again: Again) -> None:
    assert "already finished" not in again.output
    assert again.second.data.tags["finished"] == "true"
    for name in ("test_loss", "test_accuracy", "dead_units"):
        assert again.second.data.metrics[name] == again.first.data.metrics[name]
    for name in ("train_loss", "val_loss"):
        curves = [history_of(again.client, run, name) for run in (again.first, again.second)]
        assert curves[0] == curves[1]


def test_no_cache_flag_leaves_the_cache_untouched(again: Again) -> None:
    assert {path for path in again.touched if path.suffix != ".lock"} == set()


# --- what is refused --------------------------------------------------------------------------


def test_file_store_as_tracking_uri_is_refused(tmp_path: Path) -> None:
    for uri in ("./mlruns", "mlruns", "file:///tmp/mlruns", str(tmp_path / "mlruns")):
        done = run_here("study.train", *TINY, cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
        assert (done.returncode, done.stdout) == (2, "")
        assert 1 <= len(done.stderr.splitlines()) <= 2
        assert done.stderr.startswith("error: ")
        assert uri in done.stderr
        assert "sqlite:///mlflow.db" in done.stderr
        assert list(tmp_path.iterdir()) == []


def test_absent_server_is_an_error_without_the_password(tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://somebody:secret@127.0.0.1:{port}"
    done = run_here("study.train", *TINY, cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 2
    waiting, *error = done.stderr.splitlines()
    assert waiting.endswith("; waiting for it, for 3 s at most")
    assert 1 <= len(error) <= 2
    assert error[0].startswith(f"error: no MLflow at http://127.0.0.1:{port}: ")
    assert "MLFLOW_TRACKING_URI" in done.stderr
    assert "secret" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_server_that_drops_the_first_requests_does_not_end_the_training(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up of the config's runs drops, too, after the connection."""
    error = TrackingError("no MLflow at x: too many 502 error responses")
    connects = Mock(side_effect=[error, DEFAULT], wraps=connection.connect)
    look_ups = Mock(side_effect=[error, DEFAULT], wraps=find_runs)
    monkeypatch.setattr("study.tracking.connection.connect", connects)
    monkeypatch.setattr("study.tracking.queries.find_runs", look_ups)
    output = succeed_here("study.train", *FLAGS, cwd=trained.folder)
    assert f", run {trained.run.info.run_id} (--again trains it anew)\n" in output
    assert output.count("too many 502 error responses; waiting for it, for 30 s at most\n") == 2


@pytest.mark.slow
def test_jumping_clock_changes_no_duration_and_loses_no_point(
    empty_database: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    settings = {"MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.3"}
    succeed("tests.support.jumping_clock", *TINY, "--epochs", "4", cwd=tmp_path, **settings)
    client = client_of(tmp_path)
    (found,) = runs_of(client)
    assert (found.info.status, found.data.tags["finished"]) == ("FINISHED", "true")
    for name in CURVES:
        points = client.get_metric_history(found.info.run_id, name)
        times = [point.timestamp for point in points]
        assert max(times) - min(times) > 3_600_000, "it did not jump"
        assert sorted(point.step for point in points) == [1, 2, 3, 4]
        last = next(point.value for point in points if point.step == 4)
        assert found.data.metrics[name] == last
    seconds = [value for _, value in history_of(client, found, "epoch_seconds")]
    assert all(0 < value < 600 for value in seconds)
    assert found.data.metrics["fit_seconds"] == pytest.approx(sum(seconds))
    assert sum(seconds) < found.data.metrics["total_seconds"] < 3600
    again = succeed("study.train", *TINY, "--epochs", "4", cwd=tmp_path)
    assert "already finished" in again


def test_failed_trial_is_recorded_with_its_reason(empty_database: Path, tmp_path: Path) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    (tmp_path / "wrong.partial.h5").write_text("no weights")
    flags = (*TINY, "--weights", "wrong.partial.h5")
    done = run_here("study.train", *flags, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert "wrong.partial.h5 does not fit MobileNet" in line
    assert "Traceback" not in done.stderr
    (failed,) = runs_of(client_of(tmp_path))
    assert failed.info.status == "FAILED"
    assert "does not fit MobileNet" in failed.data.tags["given_up"]
    assert failed.data.tags["weights_kind"] == "partial"
    assert "finished" not in failed.data.tags


def test_help_explains_every_config_field(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["study.train", "--help"])
    with pytest.raises(SystemExit) as ended:
        run_command(main)
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for spec in dataclasses.fields(TrialConfig):
        assert f"--{spec.name.replace('_', '-')} X {spec.metadata['help']}" in text
    assert text.count("[default: ") == len(dataclasses.fields(TrialConfig))
    assert "dropout and augment (0 to 2147483647)" in text
