"""Keras' training step and prediction on TensorFlow, a graph each.

Keras builds a tf.data pipeline per call of its own `fit` and `predict`. That pipeline outlives the
trial and keeps the graphs that it feeds, which leaks some 50 MB per trial of MobileNet.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from study.config.trial_config import TrialConfig
from study.training.arrays import Arrays
from study.training.lean_keras import keras

Rows = NDArray[np.int64]


class TensorFlowLoop:
    """Loops over the batches of rows, for training and for prediction, on TensorFlow."""

    def __init__(
        self, config: TrialConfig, arrays: Arrays, model: keras.Model, probe: keras.Model
    ) -> None:
        self._batch_size = config.batch_size
        self._arrays = arrays
        self._model = model
        images = tf.TensorSpec((None, *model.input.shape[1:]), tf.uint8)
        labels = tf.TensorSpec((None,), tf.int64)
        class_weights = arrays.weigh_classes(config.class_weights)

        def train_batch(x: tf.Tensor, y: tf.Tensor) -> None:
            weights = () if class_weights is None else (tf.gather(class_weights, y),)
            model.train_step((x, y, *weights))

        def predict_batch(x: tf.Tensor) -> list[tf.Tensor]:
            outputs = probe(x, training=False)
            return outputs if isinstance(outputs, list) else [outputs]

        self._train_batch = tf.function(train_batch, [images, labels], autograph=False)
        self._predict_batch = tf.function(predict_batch, [images], autograph=False)

    def train(self, rows: Rows, on_step: Callable[[int, int], None]) -> dict[str, float]:
        """Train on rows in their order, and return their mean loss and accuracy.

        The last batch may be smaller.
        """
        self._model.reset_metrics()
        batches = self._split_batches(rows)
        for number, batch in enumerate(batches, start=1):
            self._train_batch(self._arrays.x[batch], self._arrays.y[batch])
            on_step(number, len(batches))
        return {name: float(value) for name, value in self._model.get_metrics_result().items()}

    def predict(self, rows: Rows) -> list[NDArray[np.float32]]:
        """Return the probe's outputs for rows, in their order."""
        outputs_by_batch = [
            self._predict_batch(self._arrays.x[batch]) for batch in self._split_batches(rows)
        ]
        return [
            np.concatenate([np.asarray(part) for part in parts])
            for parts in zip(*outputs_by_batch, strict=True)
        ]

    def _split_batches(self, rows: Rows) -> list[Rows]:
        size = self._batch_size
        return [rows[start : start + size] for start in range(0, len(rows), size)]
