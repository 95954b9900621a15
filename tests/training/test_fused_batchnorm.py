"""The fused batch normalization against Keras' own layer."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from study.training.fused_batchnorm import FusedBatchNormalization

SHAPE = (4, 3, 5, 6)
COUNT = 4 * 3 * 5  # values of one channel


@pytest.fixture
def images() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(3, 2, SHAPE).astype(np.float32)


def make_plain_and_fused(
    images: NDArray[np.float32], **options: object
) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """Keras' layer and the fused one, with the same random variables."""
    layers = (keras.layers.BatchNormalization(**options), FusedBatchNormalization(**options))
    for layer in layers:
        layer.build(images.shape)
        rng = np.random.default_rng(1)
        layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    return layers


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_fused_batch_normalization_predicts_as_keras_does(
    images: NDArray[np.float32], scale: bool, center: bool
) -> None:
    plain, fused = make_plain_and_fused(images, scale=scale, center=center)
    np.testing.assert_allclose(plain(images), fused(images), rtol=1e-5, atol=1e-5)


def test_fused_batch_normalization_trains_as_keras_does(images: NDArray[np.float32]) -> None:
    plain, fused = make_plain_and_fused(images)
    outputs = [layer(images, training=True) for layer in (plain, fused)]
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(plain.moving_mean, fused.moving_mean, rtol=1e-5)


def test_moving_variance_takes_the_sample_variance(images: NDArray[np.float32]) -> None:
    plain, fused = make_plain_and_fused(images, momentum=0.0)
    plain(images, training=True)
    fused(images, training=True)
    ratio = np.asarray(fused.moving_variance) / np.asarray(plain.moving_variance)
    np.testing.assert_allclose(ratio, COUNT / (COUNT - 1), rtol=1e-4)
    expected = images.var(axis=(0, 1, 2), ddof=1)
    np.testing.assert_allclose(fused.moving_variance, expected, rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.9, 0.99])
def test_moving_averages_follow_the_momentum(images: NDArray[np.float32], momentum: float) -> None:
    _, fused = make_plain_and_fused(images, momentum=momentum)
    before = np.asarray(fused.moving_mean)
    fused(images, training=True)
    expected = momentum * before + (1 - momentum) * images.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(fused.moving_mean, expected, rtol=1e-4)


def test_frozen_batch_normalization_keeps_its_averages(images: NDArray[np.float32]) -> None:
    plain, fused = make_plain_and_fused(images)
    before = np.asarray(fused.moving_mean)
    plain.trainable = fused.trainable = False
    outputs = [layer(images, training=True) for layer in (plain, fused)]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(fused.moving_mean, before)
