"""Compute metrics of predicted probabilities, with NumPy and scikit-learn only."""

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score
from sklearn.metrics import roc_auc_score


def cross_entropy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the mean sparse categorical cross-entropy in nats.

    Args:
        probabilities: (n, classes), rows sum to 1.
        labels: (n,), class index.
    """
    # Keras clips by the same epsilon, so that a confident mistake costs 16.1 nats, not infinity.
    clipped = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1.0)
    return float(-np.log(clipped.astype(np.float64)).mean())


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the share of rows (0 to 1) whose largest probability is the label's."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def balanced_accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes, 0 to 1.

    Each class counts alike, however frequent it is. Classes without an image are left out.

    Args:
        probabilities: (n, classes).
        labels: (n,), class index.
    """
    predictions = probabilities.argmax(axis=1)
    return float(recall_score(labels, predictions, labels=np.unique(labels), average="macro"))


def auc(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the area under the ROC curve, 0 to 1.

    With two classes it is the area of class 1. With more it is the mean over the classes, each
    against the rest, leaving out classes that none or all of the labels name. NaN if no class
    remains.

    Args:
        probabilities: (n, classes).
        labels: (n,), class index.
    """
    num_classes = probabilities.shape[1]
    classes = [1] if num_classes == 2 else range(num_classes)
    truths = {number: labels == number for number in classes}
    areas = [
        roc_auc_score(truth, probabilities[:, number])
        for number, truth in truths.items()
        if truth.any() and not truth.all()
    ]
    return float(np.mean(areas)) if areas else math.nan


def count_dead_units(activations: list[NDArray[np.float32]]) -> int:
    """Count the hidden units that are zero for every image.

    Args:
        activations: one (n, units) array for each hidden ReLU layer.
    """
    return int(sum((layer.max(axis=0) <= 0).sum() for layer in activations))
