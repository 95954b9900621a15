"""Convolutions in bfloat16: the outputs and gradients of Keras' own, within its rounding."""

import os
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from study.training.bfloat16_conv import BFloat16Conv2D
from study.training.bfloat16_conv import Float32DepthwiseConv2D
from study.training.bfloat16_conv import MIN_CHANNELS

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    pytest.skip("of TensorFlow alone", allow_module_level=True)
import tensorflow as tf  # after the skip, for it need not be there

SIDES, FILTERS = st.integers(1, 3), 8


def output_and_gradients(layer: Any, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The layer's outputs, and the gradients by images and kernel of a sum with fixed factors."""
    given_images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(given_images)
        outputs = tf.cast(layer(given_images), tf.float32)
        factors = np.random.default_rng(1).normal(size=outputs.shape).astype(np.float32)
        total = tf.reduce_sum(outputs * factors)
    gradients = tape.gradient(total, [given_images, layer.trainable_variables[0].value])
    return [np.asarray(each) for each in (outputs, *gradients)]


def assert_alike(fast: Any, plain: Any, images: NDArray[np.float32]) -> None:
    """Equal but for bfloat16's 8 bits, by the size of the largest figure."""
    with tf.device("CPU"):
        plain.build(images.shape)
        fast.build(images.shape)
        fast.set_weights(plain.get_weights())
        for ours, keras_own in zip(
            output_and_gradients(fast, images), output_and_gradients(plain, images), strict=True
        ):
            assert ours.shape == keras_own.shape
            np.testing.assert_allclose(ours, keras_own, atol=0.03 * np.abs(keras_own).max() + 1e-6)


@settings(max_examples=25)
@given(
    size=st.sampled_from([(1, 1), (3, 3), (4, 6), (7, 5)]),
    kernel=st.tuples(SIDES, SIDES),
    strides=st.integers(1, 2),
    padding=st.sampled_from(["same", "valid"]),
    channels=st.sampled_from([3, MIN_CHANNELS, 24]),
)
def test_bfloat16_convolution_matches_keras_and_its_gradients(
    size: tuple[int, int], kernel: tuple[int, int], strides: int, padding: str, channels: int
) -> None:
    if padding == "valid":
        kernel = min(kernel[0], size[0]), min(kernel[1], size[1])
    images = np.random.default_rng(0).normal(size=(2, *size, channels)).astype(np.float32)
    options = {"strides": strides, "padding": padding, "use_bias": False}
    fast = BFloat16Conv2D(FILTERS, kernel, dtype="mixed_bfloat16", **options)
    assert_alike(fast, keras.layers.Conv2D(FILTERS, kernel, dtype="float32", **options), images)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_float32_depthwise_convolution_matches_keras_and_its_gradients(
    strides: int, padding: str
) -> None:
    images = np.random.default_rng(0).normal(size=(2, 7, 5, 6)).astype(np.float32)
    options = {"strides": strides, "padding": padding, "use_bias": False}
    fast = Float32DepthwiseConv2D(3, dtype="mixed_bfloat16", **options)
    assert_alike(fast, keras.layers.DepthwiseConv2D(3, dtype="float32", **options), images)


@pytest.mark.parametrize("options", [{"use_bias": True}, {"dilation_rate": 2}, {"groups": 2}])
def test_bfloat16_convolution_with_other_options_matches_keras(options: dict[str, Any]) -> None:
    images = np.random.default_rng(0).normal(size=(2, 7, 7, 32)).astype(np.float32)
    fast = BFloat16Conv2D(FILTERS, 3, dtype="mixed_bfloat16", **options)
    assert_alike(fast, keras.layers.Conv2D(FILTERS, 3, dtype="float32", **options), images)
