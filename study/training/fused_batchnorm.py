"""Batch normalization in TensorFlow's fused kernel, which Keras 3 no longer uses.

On a CPU the unfused form takes more of a MobileNet step than all its convolutions together
(benchmarks/epoch.py). The fused form is also what the reports' Keras ran: its moving variance takes
the sample variance of a batch, n/(n-1) times Keras 3's.
"""

import math
from collections.abc import Mapping
from typing import Any

from study.training.lean_keras import keras

LayerReplacements = Mapping[type[keras.layers.Layer], type[keras.layers.Layer]]


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras' layer over the last axis of images, with the same variables and config."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize (n, height, width, channels)."""
        import tensorflow as tf  # present only with that backend

        if mask is not None or self.renorm:
            return super().call(inputs, training=training, mask=mask)
        gamma = self.gamma if self.scale else tf.ones_like(self.moving_mean)
        beta = self.beta if self.center else tf.zeros_like(self.moving_mean)
        normalize = tf.compat.v1.nn.fused_batch_norm
        if not (training and self.trainable):
            mean = tf.identity(self.moving_mean)
            variance = tf.identity(self.moving_variance)
            return normalize(inputs, gamma, beta, mean, variance, self.epsilon, is_training=False)[
                0
            ]
        outputs, mean, variance = normalize(inputs, gamma, beta, epsilon=self.epsilon)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs


class SampleBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras' layer, with the sample variance in its moving variance.

    The fused kernel does the same.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize (n, height, width, channels)."""
        variance_before = self.moving_variance * 1.0  # a copy: some backends assign in place
        outputs = super().call(inputs, training=training, mask=mask)
        if training and self.trainable and mask is None and not self.renorm:
            count = math.prod(inputs.shape[axis] for axis in self._reduction_axes)
            # Multiplying by n/(n-1) corrects the batch's part of the new moving variance. It must
            # not scale the part that the old one contributed, so that is put right again.
            correction = count / max(count - 1, 1)
            old_share = self.momentum * (1 - correction)
            self.moving_variance.assign(
                self.moving_variance * correction + variance_before * old_share
            )
        return outputs


def replace_batchnorm(
    model: keras.Model, momentum: float, *, fused: bool, others: LayerReplacements | None = None
) -> keras.Model:
    """Copy a functional model, weights included, with another batch normalization.

    Args:
        model: any of keras.applications, without its top.
        momentum: of the moving averages, 0 to 1.
        fused: use TensorFlow's fused kernel, or on another backend the layer that gives the same.
        others: the classes that replace those of other layers.
    """
    is_tensorflow = keras.backend.backend() == "tensorflow"
    norm_class = FusedBatchNormalization if is_tensorflow else SampleBatchNormalization

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        layer_class = (others or {}).get(type(layer), type(layer))
        if layer_class is not keras.layers.BatchNormalization:
            return layer_class.from_config(config)
        if fused and layer.axis in (-1, 3):
            layer_class = norm_class
        return layer_class.from_config({**config, "momentum": momentum})

    clone = keras.models.clone_model(model, clone_function=copy_layer)
    clone.set_weights(model.get_weights())
    return clone
