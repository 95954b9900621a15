"""Build the study's network as a notebook would, with Keras' own layers."""

from typing import Any

import keras

from study.config.trial_config import TrialConfig
from study.training.application import APPLICATIONS


def build_plain_model(config: TrialConfig, classes: int, *, dtype: str) -> keras.Model:
    """Build a new, uncompiled model of a config.

    Args:
        config: the network.
        classes: number of outputs.
        dtype: of the images: "uint8", which the model scales, or "float32", which are scaled.
    """
    shape = (config.image_size, config.image_size, 3)
    options: dict[str, Any] = {"alpha": config.alpha} if config.backbone == "mobilenet" else {}
    weights = None if config.weights == "none" else config.weights
    backbone = APPLICATIONS[config.backbone](
        include_top=False, weights=weights, input_shape=shape, **options
    )
    joint = {"flatten": "Flatten", "gap": "GlobalAveragePooling2D"}[config.head]
    hidden: list[keras.Layer] = []
    for _ in range(config.hidden_layers):
        hidden.append(keras.layers.Dense(config.dense_units, activation="relu"))
        hidden.append(keras.layers.Dropout(config.dropout))
    output = keras.layers.Dense(classes, activation="softmax")
    scaling = [keras.layers.Rescaling(1 / 255)] if dtype == "uint8" else []
    layers = [*scaling, backbone, getattr(keras.layers, joint)()]
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers, *hidden, output])


def compile_plain_model(model: keras.Model, lr: float) -> None:
    """Compile a model as a notebook does, with Adam, cross-entropy and accuracy."""
    model.compile(
        optimizer=keras.optimizers.Adam(lr),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
