"""Train one config on arrays, epoch by epoch.

Training is deterministic on a CPU and safe to kill at any moment.

After every epoch the whole training state goes to one file. The next call with the same folder
continues from it, and its metrics equal those of an uninterrupted call bit for bit, because each
epoch is a function of the state it starts from, the config and its own number.
"""

import contextlib
import math
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from study.common.errors import TrialFailed
from study.config.trial_config import TrialConfig
from study.statistics import metrics
from study.training import backbone
from study.training import runtime
from study.training.arrays import Arrays
from study.training.checkpoint import Epoch
from study.training.checkpoint import load_checkpoint
from study.training.checkpoint import save_checkpoint
from study.training.lean_keras import keras
from study.training.loop import Loop
from study.training.loop import make_loop
from study.training.loop import Outputs
from study.training.model import build_compiled_model
from study.training.model import build_model


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Callbacks:
    """Functions to call at the start, after each step and after each epoch.

    `on_start` takes the epochs already done, and the digest of the backbone's first weights, or ""
    if they are random.
    `on_step` takes the steps done in the epoch, and the epoch's number of steps.
    """

    on_start: Callable[[list[Epoch], str], None] = _ignore
    on_step: Callable[[int, int], None] = _ignore
    on_epoch: Callable[[Epoch], None] = _ignore


@dataclass(frozen=True)
class TrialResult:
    """A finished trial's history, probabilities, metrics and model.

    Probabilities are float32 (n, classes), in row order. The model may be used until the next trial
    of this process, which may train the same backbone.
    """

    history: list[Epoch]
    val_probabilities: NDArray[np.float32]
    test_probabilities: NDArray[np.float32]
    figures: dict[str, float]  # name to value, the final metrics
    model: keras.Model
    config: TrialConfig

    def build_portable_model(self) -> keras.Model:
        """Build a copy of the trained model that loads without this code.

        It is made of Keras' own layers only.
        """
        model = build_model(self.config, self.test_probabilities.shape[1], fused=False)
        model.set_weights(self.model.get_weights())
        return model


def fit(
    config: TrialConfig, arrays: Arrays, folder: Path, callbacks: Callbacks | None = None
) -> TrialResult:
    """Train, and evaluate once with the weights of the last epoch, not those of the best.

    Args:
        config: the trial.
        arrays: images, labels and split.
        folder: where the state is kept between epochs. The caller deletes it when all is recorded.
        callbacks: what to call on the way.

    Raises:
        TrialFailed: the loss is not finite, or memory ran out; the message says when.
        StudyError: the weights cannot be had.
    """
    callbacks = callbacks or Callbacks()
    runtime.prepare_backend()
    with _explain_lack_of_memory("while building the model", "image_size or dense_units"):
        with runtime.on_host():
            model = build_compiled_model(config, arrays.num_classes)
        learner = _Learner(config, arrays, model, make_loop(config, arrays, model))
        weights_digest = "" if config.weights == "none" else backbone.digest_backbone(model)
        history = load_checkpoint(folder, model)
    callbacks.on_start(history, weights_digest)
    val_outputs: Outputs = []  # after the last epoch
    while not _is_finished(config, history):
        epoch, val_outputs = learner.run_epoch(len(history), callbacks.on_step)
        history.append(epoch)
        save_checkpoint(folder, model, history)
        callbacks.on_epoch(epoch)
    with _explain_lack_of_memory("while evaluating the model"):
        return _evaluate(learner, history, val_outputs or learner.loop.predict(arrays.val))


@contextlib.contextmanager
def _explain_lack_of_memory(when: str, fields: str = "batch_size or image_size") -> Iterator[None]:
    """Turn a lack of memory within the block into an error that names `fields` to lower.

    Raises:
        TrialFailed: memory of this process or of the GPU ran out.
    """
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__} {error}"
        is_of_backend = "ResourceExhausted" in text or "RESOURCE_EXHAUSTED" in text
        if not is_of_backend and not isinstance(error, MemoryError):
            raise
        raise TrialFailed(f"out of memory {when}: use a smaller {fields}") from error


def _is_finished(config: TrialConfig, history: list[Epoch]) -> bool:
    """Return whether all epochs ran or patience is exhausted.

    Patience is exhausted after `patience` epochs without a lower validation loss.
    """
    losses = [epoch["val_loss"] for epoch in history]
    if len(losses) >= config.epochs:
        return True
    if not config.patience or not losses:
        return False
    return len(losses) - 1 - losses.index(min(losses)) >= config.patience


def shuffle_training_rows(config: TrialConfig, arrays: Arrays, done: int) -> NDArray[np.int64]:
    """Return the training rows in the order of the epoch that follows `done` epochs."""
    return np.random.default_rng((config.seed, done)).permutation(arrays.train)


@dataclass(frozen=True)
class _Learner:
    """A model in training, and its loop."""

    config: TrialConfig
    arrays: Arrays
    model: keras.Model
    loop: Loop

    def run_epoch(self, done: int, on_step: Callable[[int, int], None]) -> tuple[Epoch, Outputs]:
        """Train for an epoch and validate.

        Args:
            done: the number of epochs before this one.
            on_step: as in `Callbacks`.

        Returns:
            The epoch's metrics, and the outputs on validation.

        Raises:
            TrialFailed: the loss is not finite, or memory ran out.
        """
        start = time.perf_counter()
        with _explain_lack_of_memory(f"in epoch {done + 1}"):
            rows = shuffle_training_rows(self.config, self.arrays, done)
            epoch_metrics = self.loop.train(rows, on_step)
            outputs = self.loop.predict(self.arrays.val)
        epoch_metrics |= self._compute_validation_metrics(outputs[0])
        if not all(math.isfinite(value) for value in epoch_metrics.values()):
            lr = self.config.lr
            raise TrialFailed(f"loss is not a number in epoch {done + 1}: lower lr={lr:g}")
        seconds = time.perf_counter() - start
        return {"epoch": done + 1, **epoch_metrics, "seconds": seconds}, outputs

    def _compute_validation_metrics(self, probabilities: NDArray[np.float32]) -> dict[str, float]:
        """Return loss, accuracy and balanced accuracy, and AUC unless it is undefined."""
        labels = self.arrays.y[self.arrays.val]
        loss = metrics.cross_entropy(probabilities, labels)
        val_metrics = {
            "val_loss": loss,
            "val_accuracy": metrics.accuracy(probabilities, labels),
            "val_balanced_accuracy": metrics.balanced_accuracy(probabilities, labels),
        }
        auc = metrics.auc(probabilities, labels) if math.isfinite(loss) else math.nan
        return val_metrics if math.isnan(auc) else val_metrics | {"val_auc": auc}


def _evaluate(learner: _Learner, history: list[Epoch], val_outputs: Outputs) -> TrialResult:
    """Test the model and gather the trial's result."""
    config = learner.config
    arrays = learner.arrays
    val_probabilities, *activations = val_outputs
    test_probabilities = learner.loop.predict(arrays.test)[0]
    test_labels = arrays.y[arrays.test]
    seconds = [epoch["seconds"] for epoch in history]
    final_metrics = {
        "test_loss": metrics.cross_entropy(test_probabilities, test_labels),
        "test_accuracy": metrics.accuracy(test_probabilities, test_labels),
        "hidden_units": float(config.hidden_layers * config.dense_units),
        "dead_units": float(metrics.count_dead_units(activations)),
        "epochs_run": float(len(history)),
        "fit_seconds": sum(seconds),
        "images_per_second": len(arrays.train) / float(np.median(seconds)),
    }
    return TrialResult(
        history, val_probabilities, test_probabilities, final_metrics, learner.model, config
    )
