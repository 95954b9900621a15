"""Heat maps against maps worked out by hand, and against automatic differentiation."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from study.common.errors import StudyError
from study.config.backbones import BACKBONES
from study.config.trial_config import TrialConfig
from study.training.gradcam import compute_heat_maps
from study.training.gradcam import compute_heat_maps_of_file
from study.training.model import build_model

# 2 x 2 pixels, 3 channels: red at the top, most of it at the right; blue at the bottom left
PIXELS = np.array([[[[20, 0, 0], [80, 0, 0]], [[0, 0, 60], [0, 0, 0]]]], np.uint8)
SMALL = TrialConfig(alpha=0.25, weights="none", image_size=64)
SIDES = {"inception_v3": 139}  # pixels for 3 x 3 cells; 96 for the others


def make_model_by_hand(head: str, *kernels: list[list[float]]) -> keras.Model:
    """A model that has the pixels themselves as features, and dense layers of these kernels."""
    images = keras.Input((2, 2, 3), dtype="uint8")
    hidden = keras.layers.Rescaling(1.0)(images)
    joint = keras.layers.Flatten if head == "flatten" else keras.layers.GlobalAveragePooling2D
    hidden = joint()(hidden)
    for kernel in kernels[:-1]:
        hidden = keras.layers.Dense(len(kernel[0]), activation="relu")(hidden)
    model = keras.Model(images, keras.layers.Dense(len(kernels[-1][0]), "softmax")(hidden))
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for layer, kernel in zip(dense, kernels, strict=True):
        layer.kernel.assign(kernel)
    return model


def test_heat_map_of_a_pooling_head_weighs_the_channels() -> None:
    model = make_model_by_hand("gap", [[1, -1], [0, 0], [-1, 1]])  # class 0 is red and not blue
    for number, expected in ((0, [[0.25, 1], [0, 0]]), (1, [[0, 0], [1, 0]])):
        (found,) = compute_heat_maps(model, PIXELS, [number])
        np.testing.assert_allclose(found, expected)


def test_heat_map_of_a_flatten_head_weighs_by_mean_over_positions() -> None:
    positions = [
        [3.0, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
        [-1, 0, 0],
    ]  # of class 0; mean: red .5, blue .25
    kernel = [[weight, 0.0] for position in positions for weight in position]
    (found,) = compute_heat_maps(make_model_by_hand("flatten", kernel), PIXELS, [0])
    np.testing.assert_allclose(found, [[10 / 40, 40 / 40], [15 / 40, 0]])


def test_heat_map_counts_hidden_units_only_where_they_are_active() -> None:
    # the first unit adds up red, the second is off, as it would need green
    kernels = ([[1.0, -1], [0, 1], [0, -1]], [[2.0, 0], [50, 3]])
    first, second = compute_heat_maps(
        make_model_by_hand("gap", *kernels), PIXELS.repeat(2, axis=0), [0, 1]
    )
    np.testing.assert_allclose(first, [[0.25, 1], [0, 0]])
    assert not second.any()  # nothing that is on speaks for class 1


def differentiate_heat_maps(
    model: keras.Model, images: NDArray[np.uint8], classes: Sequence[int]
) -> NDArray[np.float32]:
    """The paper's formulas, with TensorFlow's gradients."""
    place = next(i for i, layer in enumerate(model.layers) if isinstance(layer, keras.Model))
    features = tf.constant(keras.Model(model.input, model.layers[place + 1].input)(images))
    with tf.GradientTape() as tape:
        tape.watch(features)
        outputs = features
        for layer in model.layers[place + 1 : -1]:
            outputs = layer(outputs)
        scores = outputs @ model.layers[-1].kernel + model.layers[-1].bias
        score = tf.reduce_sum(tf.gather(scores, classes, batch_dims=1, axis=1))
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy()
    return np.array([found / found.max() if found.any() else found for found in maps])


def noise(count: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def check(model: keras.Model, images: NDArray[np.uint8], classes: Sequence[int]) -> None:
    found = compute_heat_maps(model, images, classes)
    assert found.dtype == np.float32
    assert found.any()
    np.testing.assert_allclose(found, differentiate_heat_maps(model, images, classes), atol=1e-3)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_heat_map_of_every_backbone_equals_the_papers_formula(backbone: str) -> None:
    size = SIDES.get(backbone, 96)
    config = TrialConfig(backbone=backbone, weights="none", image_size=size, scaling="backbone")
    model, images = build_model(config.replace(hidden_layers=0), 4), noise(4, size)
    assert compute_heat_maps(model, images, range(4)).shape == (4, 3, 3)
    check(model, images, range(4))


@pytest.mark.parametrize("head", ["flatten", "gap"])
@pytest.mark.parametrize("hidden_layers", [0, 2])
def test_heat_map_of_every_head_equals_the_papers_formula(head: str, hidden_layers: int) -> None:
    config = SMALL.replace(head=head, hidden_layers=hidden_layers, dense_units=16)
    check(build_model(config, 3), noise(6, 64), [0, 1, 2, 0, 1, 2])


def test_heat_map_lies_between_0_and_1() -> None:
    maps = compute_heat_maps(build_model(SMALL, 3), noise(9, 64), [0, 1, 2] * 3)
    assert maps.shape == (9, 2, 2)
    assert maps.min() >= 0
    assert set(maps.max(axis=(1, 2)).tolist()) <= {0.0, 1.0}


def test_heat_map_of_a_saved_model_is_the_same(tmp_path: Path) -> None:
    config = SMALL.replace(backbone="resnet50", alpha=1.0, scaling="backbone", augment=0.5)
    model, images = build_model(config, 2, fused=False), noise(2, 64)
    model.save(tmp_path / "model.keras")
    expected = compute_heat_maps(model, images, [1, 0])
    np.testing.assert_array_equal(
        compute_heat_maps_of_file(tmp_path / "model.keras", images, [1, 0]), expected
    )


def test_heat_map_of_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"no model")
    with pytest.raises(StudyError, match=r"^cannot load the run's model on this machine: .+$"):
        compute_heat_maps_of_file(tmp_path / "model.keras", noise(1, 64), [0])
