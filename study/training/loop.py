"""Choose the training and prediction loops of Keras' backend."""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from study.common.errors import StudyError
from study.config.trial_config import TrialConfig
from study.training.arrays import Arrays
from study.training.lean_keras import keras

LOOPS = {
    "tensorflow": "study.training.loop_tensorflow:TensorFlowLoop",
    "jax": "study.training.loop_jax:JaxLoop",
}


Outputs = list[NDArray[np.float32]]  # probabilities, then each hidden layer's activations


def _build_probe(model: keras.Model) -> keras.Model:
    """Return a model of the same layers that also outputs hidden activations."""
    hidden = [layer.output for layer in model.layers if layer.name.startswith("hidden_")]
    return keras.Model(model.input, [model.output, *hidden])


class Loop(Protocol):
    """The training and prediction loops of one backend.

    See `loop_tensorflow` and `loop_jax`.
    """

    def train(
        self, rows: NDArray[np.int64], on_step: Callable[[int, int], None]
    ) -> dict[str, float]:
        """Train on rows in their order, and return their mean loss and accuracy."""

    def predict(self, rows: NDArray[np.int64]) -> Outputs:
        """Return the model's outputs for rows, in their order."""


def make_loop(config: TrialConfig, arrays: Arrays, model: keras.Model) -> Loop:
    """Make the loop of the backend that Keras computes with.

    Raises:
        StudyError: there is no loop for that backend.
    """
    backend = keras.backend.backend()
    if backend not in LOOPS:
        raise StudyError(f"KERAS_BACKEND={backend} cannot train here: use {' or '.join(LOOPS)}")
    loop_class = resolve_name(LOOPS[backend])  # late: only one of the backends need be installed
    loop: Loop = loop_class(config, arrays, model, _build_probe(model))
    return loop
