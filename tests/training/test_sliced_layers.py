"""Layers made of slices against Keras' own: outputs and gradients, at sizes that a test draws."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from study.training.sliced_layers import SlicedDepthwiseConv2D
from study.training.sliced_layers import SlicedMaxPooling2D

WINDOWS = st.fixed_dictionaries(
    {
        "side": st.integers(1, 4),
        "strides": st.integers(1, 3),
        "padding": st.sampled_from(["same", "valid"]),
    }
)
SHAPES = st.tuples(st.integers(4, 9), st.integers(4, 9))


def images(shape: tuple[int, int]) -> tf.Tensor:
    rng = np.random.default_rng(0)  # all numbers differ, so that each window has one maximum
    return tf.constant(rng.permutation(2 * shape[0] * shape[1] * 3).reshape(2, *shape, 3) / 100.0)


def output_and_gradients(layer: keras.Layer, x: tf.Tensor) -> list[Any]:
    """The output, and the gradients of a weighted sum of it."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        weighted = tf.reduce_sum(y * tf.reshape(tf.range(tf.size(y), dtype=y.dtype), y.shape))
    gradients = tape.gradient(weighted, [x, *layer.trainable_variables])
    return [y.numpy(), *(each.numpy() for each in gradients)]


def assert_agree(ours: keras.Layer, kerass: keras.Layer, x: tf.Tensor) -> None:
    for layer in (ours, kerass):
        layer.build(x.shape)
    ours.set_weights(kerass.get_weights())
    for a, b in zip(output_and_gradients(ours, x), output_and_gradients(kerass, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4 * np.abs(b).max())


@given(window=WINDOWS, shape=SHAPES)
def test_sliced_pooling_matches_keras(window: dict[str, Any], shape: tuple[int, int]) -> None:
    options = {"pool_size": window["side"], **{k: window[k] for k in ("strides", "padding")}}
    pooled = (kind(**options) for kind in (SlicedMaxPooling2D, keras.layers.MaxPooling2D))
    assert_agree(*pooled, tf.cast(images(shape), tf.float32))


@given(window=WINDOWS, shape=SHAPES)
def test_sliced_depthwise_convolution_matches_keras(
    window: dict[str, Any], shape: tuple[int, int]
) -> None:
    options = {
        "kernel_size": window["side"], "use_bias": False, "activation": "relu",
        **{k: window[k] for k in ("strides", "padding")},
    }  # fmt: skip
    convolved = (kind(**options) for kind in (SlicedDepthwiseConv2D, keras.layers.DepthwiseConv2D))
    assert_agree(*convolved, tf.cast(images(shape), tf.float32))


@pytest.mark.parametrize("options", [{"use_bias": True}, {"depth_multiplier": 2}])
def test_sliced_depthwise_convolution_with_other_options_matches_keras(
    options: dict[str, Any],
) -> None:
    options = {"kernel_size": 3, **options}
    assert_agree(
        SlicedDepthwiseConv2D(**options),
        keras.layers.DepthwiseConv2D(**options),
        tf.cast(images((6, 6)), tf.float32),
    )
