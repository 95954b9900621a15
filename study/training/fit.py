"""Train one config on arrays: epoch by epoch, deterministic on CPU, safe to kill at any moment.

After every epoch the whole training state goes to one file; the next call with the same folder
goes on from it, and its figures equal those of an uninterrupted call bit for bit: each epoch is a
function of the state it starts from, the config and its own number.
"""

import importlib
import json
import math
import os
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from study.common.errors import StudyError
from study.common.errors import TrialFailed
from study.config import TrialConfig
from study.statistics import metrics
from study.training import backbone
from study.training import runtime
from study.training.model import build
from study.training.model import compiled

STATE_FILE = "state.npz"
LOOPS = {
    "tensorflow": "study.training.loop_tensorflow:TensorFlowLoop",
    "jax": "study.training.loop_jax:JaxLoop",
}
# epoch (from 1), loss, accuracy, val_loss, val_accuracy, val_auc (if there is one), seconds
Epoch = dict[str, float]
Outputs = list[NDArray[np.float32]]  # probabilities, then each hidden layer's activations


@dataclass(frozen=True)
class Arrays:
    """What a trial trains on.

    x: uint8 (N, size, size, 3); y: int64 (N,), class index; train, val and test: row numbers.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    num_classes: int


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Callbacks:
    """What a caller may watch: the start, each step, each finished epoch.

    The start comes with the epochs already done, and the digest of the backbone's first weights.
    """

    on_start: Callable[[list[Epoch], str], None] = _ignore
    on_step: Callable[[int, int], None] = _ignore
    on_epoch: Callable[[Epoch], None] = _ignore


@dataclass(frozen=True)
class TrialResult:
    """All that a finished trial leaves. Probabilities are float32 (n, classes), in row order.

    The model is of use until the next trial of this process, which may train the same backbone.
    """

    history: list[Epoch]
    val_probabilities: NDArray[np.float32]
    test_probabilities: NDArray[np.float32]
    figures: dict[str, float]  # name to value, the final metrics
    model: keras.Model
    config: TrialConfig

    def portable_model(self) -> keras.Model:
        """The trained model, made of Keras' own layers only, so that it loads without this code."""
        plain = build(self.config, self.test_probabilities.shape[1], fused=False)
        plain.set_weights(self.model.get_weights())
        return plain


def fit(
    config: TrialConfig, arrays: Arrays, folder: Path, callbacks: Callbacks | None = None
) -> TrialResult:
    """Train, select nothing, evaluate once with the weights of the last epoch.

    Args:
        config: the trial.
        arrays: images, labels and split.
        folder: where the state lives between epochs; the caller deletes it when all is recorded.
        callbacks: what to call on the way.

    Raises:
        TrialFailed: the loss is not finite, or memory ran out; the message says when.
        StudyError: the weights cannot be had.
    """
    callbacks = callbacks or Callbacks()
    runtime.prepare()
    with runtime.on_host():
        model = compiled(config, arrays.num_classes)
    learner = _Learner(config, arrays, model, loop_for(config, arrays, model))
    weights_digest = backbone.digest(model)
    history = _load_state(folder, model)
    callbacks.on_start(history, weights_digest)
    outputs: Outputs = []  # on validation, after the last epoch
    while not _done(config, history):
        epoch, outputs = learner.run_epoch(len(history), callbacks.on_step)
        history.append(epoch)
        _save_state(folder, model, history)
        callbacks.on_epoch(epoch)
    return _evaluate(learner, history, outputs or learner.loop.predict(arrays.val))


def _done(config: TrialConfig, history: list[Epoch]) -> bool:
    """Whether all epochs ran, or `patience` of them passed without a lower validation loss."""
    losses = [epoch["val_loss"] for epoch in history]
    if len(losses) >= config.epochs:
        return True
    if not config.patience or not losses:
        return False
    return len(losses) - 1 - losses.index(min(losses)) >= config.patience


def _probe(model: keras.Model) -> keras.Model:
    """The same layers; tells what the hidden ones come to, too."""
    hidden = [layer.output for layer in model.layers if layer.name.startswith("hidden_")]
    return keras.Model(model.input, [model.output, *hidden])


class Loop(Protocol):
    """How rows go through a model, batch by batch; see `loop_tensorflow` and `loop_jax`."""

    def train(
        self, rows: NDArray[np.int64], on_step: Callable[[int, int], None]
    ) -> dict[str, float]:
        """Train on rows in their order; loss and accuracy, means over them."""

    def predict(self, rows: NDArray[np.int64]) -> Outputs:
        """What the model says of rows, in their order."""


def loop_for(config: TrialConfig, arrays: Arrays, model: keras.Model) -> Loop:
    """The loop of the backend that Keras computes with.

    Raises:
        StudyError: none is written for that backend.
    """
    name = keras.backend.backend()
    if name not in LOOPS:
        raise StudyError(f"KERAS_BACKEND={name} cannot train here: use {' or '.join(LOOPS)}")
    module, kind = LOOPS[name].split(":")  # late: only one of the backends need be there
    made: Loop = getattr(importlib.import_module(module), kind)(
        config, arrays, model, _probe(model)
    )
    return made


def shuffled(config: TrialConfig, arrays: Arrays, done: int) -> NDArray[np.int64]:
    """The training rows in the order of the epoch after so many."""
    return np.random.default_rng((config.seed, done)).permutation(arrays.train)


@dataclass(frozen=True)
class _Learner:
    """A model in training, and the loop that takes rows through it."""

    config: TrialConfig
    arrays: Arrays
    model: keras.Model
    loop: Loop

    def run_epoch(self, done: int, on_step: Callable[[int, int], None]) -> tuple[Epoch, Outputs]:
        """Train for an epoch and validate; its figures and the outputs on validation."""
        start = time.perf_counter()
        try:
            rows = shuffled(self.config, self.arrays, done)
            figures = self.loop.train(rows, on_step)
            outputs = self.loop.predict(self.arrays.val)
        except Exception as error:
            if "ResourceExhausted" in type(error).__name__ or "RESOURCE_EXHAUSTED" in str(error):
                raise TrialFailed(
                    f"out of memory in epoch {done + 1}: use a smaller batch_size or image_size"
                ) from error
            raise
        figures |= self._validated(outputs[0])
        if not all(math.isfinite(value) for value in figures.values()):
            lr = self.config.lr
            raise TrialFailed(f"loss is not a number in epoch {done + 1}: lower lr={lr:g}")
        return {"epoch": done + 1, **figures, "seconds": time.perf_counter() - start}, outputs

    def _validated(self, probabilities: NDArray[np.float32]) -> dict[str, float]:
        labels = self.arrays.y[self.arrays.val]
        loss = metrics.cross_entropy(probabilities, labels)
        figures = {"val_loss": loss, "val_accuracy": metrics.accuracy(probabilities, labels)}
        auc = metrics.auc(probabilities, labels) if math.isfinite(loss) else math.nan
        return figures if math.isnan(auc) else figures | {"val_auc": auc}


def _variables(model: keras.Model) -> list[Any]:
    """All that training changes: weights, batch statistics, seeds of random layers, optimizer."""
    return [*model.variables, *model.optimizer.variables]


def _save_state(folder: Path, model: keras.Model, history: list[Epoch]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"v{i}": np.asarray(v) for i, v in enumerate(_variables(model))}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise TrialFailed(  # relu6 turns NaN into 0, so the loss alone may not show it
            f"weights are not numbers after epoch {len(history)}: lower the learning rate"
        )
    arrays["history"] = np.array(json.dumps(history))
    arrays["backend"] = np.array(keras.backend.backend())
    unfinished = folder / f"{STATE_FILE}.{os.getpid()}.part"
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)
    unfinished.replace(folder / STATE_FILE)


def _load_state(folder: Path, model: keras.Model) -> list[Epoch]:
    """Put the saved state, if there is one, into the model; the epochs it holds, else none."""
    try:
        with np.load(folder / STATE_FILE, allow_pickle=False) as saved:
            history: list[Epoch] = json.loads(str(saved["history"]))
            values = [saved[name] for name in saved.files if re.fullmatch(r"v\d+", name)]
            begun_with = str(saved["backend"]) if "backend" in saved else "tensorflow"
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return []  # none yet, or damaged from outside: an epoch lost is better than a wrong one
    if begun_with != keras.backend.backend():
        raise StudyError(
            f"this trial was begun with KERAS_BACKEND={begun_with}: set that to go on with it, or "
            f"delete {folder} to begin anew"
        )
    for variable, value in zip(_variables(model), values, strict=True):
        variable.assign(value)
    return history


def _evaluate(learner: _Learner, history: list[Epoch], on_val: Outputs) -> TrialResult:
    config, arrays = learner.config, learner.arrays
    val, *activations = on_val
    test, labels = learner.loop.predict(arrays.test)[0], arrays.y[arrays.test]
    seconds = [epoch["seconds"] for epoch in history]
    figures = {
        "test_loss": metrics.cross_entropy(test, labels),
        "test_accuracy": metrics.accuracy(test, labels),
        "hidden_units": float(config.hidden_layers * config.dense_units),
        "dead_units": float(metrics.dead_units(activations)),
        "epochs_run": float(len(history)),
        "fit_seconds": sum(seconds),
        "images_per_second": len(arrays.train) / float(np.median(seconds)),
    }
    return TrialResult(history, val, test, figures, learner.model, config)
