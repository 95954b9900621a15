"""Training steps on TensorFlow, with a network of one layer."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from study.config.trial_config import TrialConfig
from study.training.arrays import Arrays
from study.training.loop_tensorflow import TensorFlowLoop

CONFIG = TrialConfig(weights="none", image_size=32, batch_size=10)


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """40 images to train on: 30 of the first class, 10 of the second, none of the third."""
    x = np.random.default_rng(0).integers(0, 256, (44, 32, 32, 3), np.uint8)
    y = np.repeat([0, 1, 2], [30, 10, 4])
    return Arrays(x, y, np.arange(40), np.arange(40, 44), np.arange(40, 44), 3)


def train_for_an_epoch(config: TrialConfig, arrays: Arrays) -> tuple[float, NDArray[np.float32]]:
    """Return the mean loss of an epoch that changes nothing, and each image's cross-entropy."""
    images = keras.Input((32, 32, 3), dtype="uint8")
    pixels = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(3, activation="softmax")(pixels))
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    loop = TensorFlowLoop(config, arrays, model, model)
    rows = np.random.default_rng(0).permutation(arrays.train)
    (probabilities,) = loop.predict(arrays.train)
    losses = -np.log(probabilities[arrays.train, arrays.y[arrays.train]])
    return loop.train(rows, lambda *_: None)["loss"], losses


def test_images_count_alike_in_the_loss(arrays: Arrays) -> None:
    loss, losses = train_for_an_epoch(CONFIG, arrays)
    assert loss == pytest.approx(losses.mean(), rel=1e-5)


def test_balanced_classes_count_alike_in_the_loss(arrays: Arrays) -> None:
    loss, losses = train_for_an_epoch(CONFIG.replace(class_weights="balanced"), arrays)
    class_losses = [losses[:30].mean(), losses[30:].mean()]
    assert class_losses[0] != pytest.approx(class_losses[1], rel=0.1)
    assert loss == pytest.approx(np.mean(class_losses), rel=1e-5)
