"""Keras' training step and prediction on TensorFlow, a graph each.

Keras' own `fit` and `predict` give each call a data set of tf.data, which neither comes free with
its trial nor lets the graphs that it feeds come free: some 50 MB for every trial of MobileNet.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from study.config import TrialConfig

if TYPE_CHECKING:
    from study.training.fit import Arrays

Rows = NDArray[np.int64]


class TensorFlowLoop:
    """The loops over the batches of rows, for training and for prediction."""

    def __init__(
        self, config: TrialConfig, arrays: "Arrays", model: keras.Model, probe: keras.Model
    ) -> None:
        self._size, self._arrays, self._model = config.batch_size, arrays, model
        images = tf.TensorSpec((None, *model.input.shape[1:]), tf.uint8)
        labels = tf.TensorSpec((None,), tf.int64)

        def step(x: tf.Tensor, y: tf.Tensor) -> None:
            model.train_step((x, y))

        def outputs(x: tf.Tensor) -> list[tf.Tensor]:
            made = probe(x, training=False)
            return made if isinstance(made, list) else [made]

        self._step = tf.function(step, [images, labels], autograph=False)
        self._outputs = tf.function(outputs, [images], autograph=False)

    def train(self, rows: Rows, on_step: Callable[[int, int], None]) -> dict[str, float]:
        """Train on rows in their order, the last batch being smaller; the means over them."""
        self._model.reset_metrics()
        parts = self._batches(rows)
        for number, part in enumerate(parts, start=1):
            self._step(self._arrays.x[part], self._arrays.y[part])
            on_step(number, len(parts))
        return {name: float(value) for name, value in self._model.get_metrics_result().items()}

    def predict(self, rows: Rows) -> list[NDArray[np.float32]]:
        """What the probe says of rows, in their order."""
        made = [self._outputs(self._arrays.x[part]) for part in self._batches(rows)]
        return [np.concatenate([np.asarray(x) for x in each]) for each in zip(*made, strict=True)]

    def _batches(self, rows: Rows) -> list[Rows]:
        return [rows[i : i + self._size] for i in range(0, len(rows), self._size)]
