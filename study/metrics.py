"""Figures made from predictions. NumPy only."""

import numpy as np
from numpy.typing import NDArray


def cross_entropy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean sparse categorical cross-entropy in nats.

    Args:
        probabilities: (n, classes), rows sum to 1.
        labels: (n,), class index.
    """
    # Keras clips by the same epsilon, so that a confident mistake costs 16.1 nats, not infinity.
    picked = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1.0)
    return float(-np.log(picked.astype(np.float64)).mean())


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of rows (0 to 1) whose largest probability is the label's."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def dead_units(activations: list[NDArray[np.float32]]) -> int:
    """How many hidden units are zero for every image.

    Args:
        activations: one (n, units) array for each hidden ReLU layer.
    """
    return int(sum((layer.max(axis=0) <= 0).sum() for layer in activations))
