"""Training: deterministic, resumable bit for bit, and honest about what went wrong."""

import dataclasses
import json
import shutil
from pathlib import Path
from unittest.mock import Mock

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from study.common.errors import TrialFailed
from study.config.trial_config import TrialConfig
from study.statistics import metrics
from study.training.arrays import Arrays
from study.training.checkpoint import Epoch
from study.training.checkpoint import STATE_FILE
from study.training.fit import Callbacks
from study.training.fit import fit
from study.training.fit import TrialResult
from study.training.loop import Outputs
from study.training.model import build_model

CONFIG = TrialConfig(
    alpha=0.25, weights="none", image_size=32, batch_size=16, epochs=4, lr=3e-3, dense_units=16
)


class Interrupted(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Baseline:
    """An uninterrupted trial, and a copy of its folder as it was after each epoch."""

    result: TrialResult
    seen: list[Epoch]
    folders: dict[int, Path]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (88, 32, 32, 3), np.uint8)
    y = rng.integers(0, 3, 88)
    rows = rng.permutation(88)
    return Arrays(x, y, rows[:50], rows[50:68], rows[68:], 3)


def with_own_model(result: TrialResult) -> TrialResult:
    """With a model of its own, for the trials of other tests train the same backbone."""
    return dataclasses.replace(result, model=result.build_portable_model())


@pytest.fixture(scope="module")
def baseline(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    root = tmp_path_factory.mktemp("baseline")
    seen: list[Epoch] = []
    folders: dict[int, Path] = {}

    def keep(epoch: Epoch) -> None:
        seen.append(epoch)
        folders[len(seen)] = shutil.copytree(root / "state", root / str(len(seen)))

    result = fit(CONFIG, arrays, root / "state", Callbacks(on_epoch=keep))
    return Baseline(with_own_model(result), seen, folders)


def without_seconds(history: list[Epoch]) -> list[Epoch]:
    return [{name: v for name, v in epoch.items() if name != "seconds"} for epoch in history]


def assert_same(result: TrialResult, expected: TrialResult) -> None:
    """Equal to the last bit, but for the time it took."""
    assert without_seconds(result.history) == without_seconds(expected.history)
    np.testing.assert_array_equal(result.val_probabilities, expected.val_probabilities)
    np.testing.assert_array_equal(result.test_probabilities, expected.test_probabilities)


def test_fit_reports_every_epoch(baseline: Baseline) -> None:
    names = {
        *("epoch", "loss", "accuracy", "seconds"),
        *("val_loss", "val_accuracy", "val_balanced_accuracy", "val_auc"),
    }
    assert [epoch["epoch"] for epoch in baseline.seen] == [1, 2, 3, 4]
    assert all(epoch.keys() == names for epoch in baseline.seen)
    assert baseline.result.history == baseline.seen


def test_figures_of_a_fit_follow_from_its_predictions(baseline: Baseline, arrays: Arrays) -> None:
    figures, labels = baseline.result.figures, arrays.y[arrays.test]
    assert figures.keys() == {
        *("test_loss", "test_accuracy", "hidden_units", "dead_units"),
        *("epochs_run", "fit_seconds", "images_per_second"),
    }
    probabilities = baseline.result.test_probabilities
    assert figures["test_accuracy"] == metrics.accuracy(probabilities, labels)
    assert figures["test_loss"] == metrics.cross_entropy(probabilities, labels)
    assert figures["epochs_run"] == 4
    assert figures["fit_seconds"] == sum(epoch["seconds"] for epoch in baseline.seen)
    assert figures["images_per_second"] > 0


def test_probabilities_of_a_fit_are_in_row_order(baseline: Baseline, arrays: Arrays) -> None:
    result = baseline.result
    for rows, probabilities in (
        (arrays.val, result.val_probabilities),
        (arrays.test, result.test_probabilities),
    ):
        assert probabilities.shape == (len(rows), 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        expected = np.asarray(result.model(arrays.x[rows], training=False))
        np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-5)


def test_last_validation_figures_follow_from_the_predictions(
    baseline: Baseline, arrays: Arrays
) -> None:
    last, labels = baseline.seen[-1], arrays.y[arrays.val]
    probabilities = baseline.result.val_probabilities
    assert last["val_accuracy"] == metrics.accuracy(probabilities, labels)
    assert last["val_loss"] == metrics.cross_entropy(probabilities, labels)
    assert last["val_balanced_accuracy"] == metrics.balanced_accuracy(probabilities, labels)
    assert last["val_auc"] == metrics.auc(probabilities, labels)


def test_dead_units_of_a_fit_are_silent_on_all_of_val(baseline: Baseline, arrays: Arrays) -> None:
    model, figures = baseline.result.model, baseline.result.figures
    hidden = keras.Model(model.input, model.get_layer("hidden_1").output)
    silent = (np.asarray(hidden(arrays.x[arrays.val])) <= 0).all(axis=0)
    assert figures["hidden_units"] == 16
    assert figures["dead_units"] == silent.sum()


def test_interrupted_fit_resumed_ends_bit_for_bit_the_same(
    baseline: Baseline, arrays: Arrays, tmp_path: Path
) -> None:
    seen: list[Epoch] = []

    def stop_after_two(epoch: Epoch) -> None:
        seen.append(epoch)
        if epoch["epoch"] == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(CONFIG, arrays, tmp_path, Callbacks(on_epoch=stop_after_two))
    started: list[int] = []
    callbacks = Callbacks(lambda history, _: started.append(len(history)), on_epoch=seen.append)
    result = fit(CONFIG, arrays, tmp_path, callbacks)
    assert started == [2]
    assert [epoch["epoch"] for epoch in seen] == [1, 2, 3, 4]
    assert_same(result, baseline.result)
    assert result.history == seen
    assert result.figures["fit_seconds"] == sum(epoch["seconds"] for epoch in seen)


def test_fit_with_a_damaged_checkpoint_starts_over(
    baseline: Baseline, arrays: Arrays, tmp_path: Path
) -> None:
    whole = (baseline.folders[3] / STATE_FILE).read_bytes()
    (tmp_path / STATE_FILE).write_bytes(whole[: len(whole) // 2])
    seen: list[Epoch] = []
    result = fit(CONFIG, arrays, tmp_path, Callbacks(on_epoch=seen.append))
    assert len(seen) == 4
    assert_same(result, baseline.result)


def test_fit_with_a_finished_checkpoint_only_evaluates(
    baseline: Baseline, arrays: Arrays, tmp_path: Path
) -> None:
    shutil.copytree(baseline.folders[4], tmp_path, dirs_exist_ok=True)
    seen: list[Epoch] = []
    result = fit(CONFIG, arrays, tmp_path, Callbacks(on_epoch=seen.append))
    assert seen == []
    assert_same(result, baseline.result)
    assert result.history == baseline.result.history


ALL = CONFIG.replace(
    epochs=2, weight_decay=0.3, label_smoothing=0.2, augment=0.5, trainable=0.5, head="gap"
)


@pytest.fixture(scope="module")
def regularized(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    """A trial with every means against overfitting, stopped after its first epoch, and taken up."""
    root = tmp_path_factory.mktemp("regularized")

    def stop(_: Epoch) -> None:
        shutil.copytree(root / "state", root / "1")
        raise Interrupted

    with pytest.raises(Interrupted):
        fit(ALL, arrays, root / "state", Callbacks(on_epoch=stop))
    seen: list[Epoch] = []
    result = fit(ALL, arrays, root / "state", Callbacks(on_epoch=seen.append))
    assert [epoch["epoch"] for epoch in seen] == [2]
    return Baseline(with_own_model(result), seen, {1: root / "1"})


def test_resumed_fit_with_augmentation_ends_the_same(
    regularized: Baseline, arrays: Arrays, tmp_path: Path
) -> None:
    assert_same(regularized.result, fit(ALL, arrays, tmp_path))


def test_label_smoothing_changes_the_training_loss_alone(
    regularized: Baseline, arrays: Arrays
) -> None:
    last, labels = regularized.result.history[-1], arrays.y[arrays.val]
    assert last["val_loss"] == metrics.cross_entropy(regularized.result.val_probabilities, labels)


def test_frozen_layers_keep_their_weights_in_a_fit(regularized: Baseline) -> None:
    start = build_model(ALL, 3)
    began, ended = (
        next(each for each in model.layers if isinstance(each, keras.Model)).layers
        for model in (start, regularized.result.model)
    )
    for before, after in zip(began, ended, strict=True):
        if after.weights:
            pairs = zip(before.get_weights(), after.get_weights(), strict=True)
            same = all(np.array_equal(a, b) for a, b in pairs)
            assert same is not after.trainable


def test_portable_model_has_keras_layers_alone(
    regularized: Baseline, arrays: Arrays, tmp_path: Path
) -> None:
    regularized.result.build_portable_model().save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    kinds = {type(layer).__module__.split(".")[0] for layer in loaded._flatten_layers()}
    assert kinds == {"keras"}
    np.testing.assert_allclose(
        loaded(arrays.x[arrays.test]), regularized.result.test_probabilities, rtol=1e-3, atol=1e-5
    )


def test_fit_with_a_checkpoint_without_val_auc_continues(
    baseline: Baseline, arrays: Arrays, tmp_path: Path
) -> None:
    shutil.copytree(baseline.folders[3], tmp_path, dirs_exist_ok=True)
    change_state(tmp_path, drop="val_auc")
    history = fit(CONFIG, arrays, tmp_path).history
    assert ["val_auc" in epoch for epoch in history] == [False, False, False, True]
    assert without_seconds(history[3:]) == without_seconds(baseline.seen[3:])


def test_fit_with_one_class_in_val_has_no_auc(
    baseline: Baseline, arrays: Arrays, tmp_path: Path
) -> None:
    shutil.copytree(baseline.folders[3], tmp_path, dirs_exist_ok=True)
    lonely = dataclasses.replace(arrays, val=arrays.val[arrays.y[arrays.val] == 1])
    last, expected = fit(CONFIG, lonely, tmp_path).history[-1], baseline.seen[-1]
    assert last.keys() == expected.keys() - {"val_auc"}
    assert last["loss"] == expected["loss"]


def change_state(
    folder: Path, *, best: float | None = None, drop: str = "", poison: bool = False
) -> None:
    """Make a state say that its first epoch had that val_loss, or that none had the figure `drop`;
    or make its weights no numbers.
    """
    with np.load(folder / STATE_FILE) as saved:
        values = dict(saved)
    history = json.loads(str(values.pop("history")))
    if best is not None:
        history[0]["val_loss"] = best
    for epoch in history:
        epoch.pop(drop, None)
    if poison:
        floats = {name: v for name, v in values.items() if v.dtype == np.float32}
        values |= {name: np.full_like(v, np.nan) for name, v in floats.items()}
    np.savez(folder / STATE_FILE, history=np.array(json.dumps(history)), **values)


@pytest.mark.parametrize("patience", [1, 2])
def test_patience_of_a_resumed_fit_counts_earlier_epochs(
    baseline: Baseline, arrays: Arrays, tmp_path: Path, patience: int
) -> None:
    shutil.copytree(baseline.folders[2], tmp_path, dirs_exist_ok=True)
    change_state(tmp_path, best=0.0)
    result = fit(CONFIG.replace(patience=patience), arrays, tmp_path)
    assert len(result.history) == patience + 1
    trained, expected = result.history[1:], baseline.result.history[1:]
    assert without_seconds(trained) == without_seconds(expected)[:patience]


def test_fit_with_a_loss_of_nan_fails_and_names_the_epoch(
    baseline: Baseline, arrays: Arrays, tmp_path: Path
) -> None:
    shutil.copytree(baseline.folders[1], tmp_path, dirs_exist_ok=True)
    change_state(tmp_path, poison=True)
    before = (tmp_path / STATE_FILE).read_bytes()
    with pytest.raises(TrialFailed, match=r"in epoch 2.*lr=0.003") as caught:
        fit(CONFIG, arrays, tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / STATE_FILE).read_bytes() == before


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


class FullLoop:
    """A loop for which there is not enough memory to predict some rows."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows

    def train(self, *_: object) -> dict[str, float]:
        return {"loss": 1.0, "accuracy": 0.5}

    def predict(self, rows: NDArray[np.int64]) -> Outputs:
        if rows is self.rows:
            raise ResourceExhaustedError("OOM when allocating a tensor")
        return [np.full((len(rows), 3), 1 / 3, np.float32)]


@pytest.mark.parametrize(
    ("part", "when"), [("val", "in epoch 1"), ("test", "while evaluating the model")]
)
def test_lack_of_memory_is_a_failed_trial_that_says_when(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, when: str
) -> None:
    loop = FullLoop(getattr(arrays, part))
    monkeypatch.setattr("study.training.fit.make_loop", lambda *_: loop)
    with pytest.raises(TrialFailed, match=f"^out of memory {when}: use a smaller batch_size or im"):
        fit(CONFIG.replace(epochs=1), arrays, tmp_path)


def test_lack_of_memory_for_the_model_is_a_failed_trial(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.training.fit.build_compiled_model", Mock(side_effect=MemoryError))
    words = "^out of memory while building the model: use a smaller image_size or dense_units$"
    with pytest.raises(TrialFailed, match=words):
        fit(CONFIG, arrays, tmp_path)
