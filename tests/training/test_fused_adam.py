"""The fused Adam: the steps of Keras' own, within rounding, and the same state."""

import os
from typing import Any

import keras
import numpy as np
import pytest

from study.training.fused_adam import FusedAdam

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    pytest.skip("of TensorFlow alone", allow_module_level=True)
import tensorflow as tf  # after the skip, for it need not be there


def steps(adam: Any) -> list[Any]:
    """The weights and the optimizer's state after five steps with fixed gradients."""
    weights = [keras.Variable(np.full((3, 2), 0.5, np.float32)), keras.Variable(np.ones(4, "f4"))]
    adam.build(weights)
    generator = np.random.default_rng(0)
    for _ in range(5):
        adam.apply([tf.constant(generator.normal(size=w.shape), tf.float32) for w in weights])
    return [np.asarray(each) for each in (*weights, *adam.variables)]


@pytest.mark.parametrize("weight_decay", [None, 0.1])
def test_five_steps_of_fused_adam_match_keras(weight_decay: float | None) -> None:
    fused = steps(FusedAdam(1e-2, weight_decay=weight_decay))
    plain = steps(keras.optimizers.Adam(1e-2, weight_decay=weight_decay))
    assert len(fused) == len(plain)
    for ours, keras_own in zip(fused, plain, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-7)
