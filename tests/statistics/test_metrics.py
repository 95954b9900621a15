"""Figures from predictions, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import log_loss
from sklearn.metrics import roc_auc_score

from study.statistics.metrics import accuracy
from study.statistics.metrics import auc
from study.statistics.metrics import balanced_accuracy
from study.statistics.metrics import count_dead_units
from study.statistics.metrics import cross_entropy

Drawn = tuple[NDArray[np.float32], NDArray[np.int64]]


@st.composite
def predictions(draw: st.DrawFn) -> Drawn:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, classes = draw(st.integers(1, 50)), draw(st.integers(2, 6))
    values = rng.dirichlet(np.ones(classes), count)
    return values.astype(np.float32), rng.integers(0, classes, count)


@given(predictions())
@settings(max_examples=50)
def test_cross_entropy_matches_scikit_learn(drawn: Drawn) -> None:
    values, labels = drawn
    clipped = np.clip(values.astype(np.float64), 1e-7, 1)
    expected = -np.log(clipped[np.arange(len(labels)), labels]).mean()
    assert cross_entropy(values, labels) == pytest.approx(expected, rel=1e-5)
    if values.min() > 1e-6:
        exact = values.astype(np.float64)
        exact /= exact.sum(axis=1, keepdims=True)
        by_sklearn = log_loss(labels, exact, labels=range(values.shape[1]))
        assert cross_entropy(values, labels) == pytest.approx(by_sklearn, rel=1e-5, abs=1e-7)


@given(predictions())
@settings(max_examples=50)
def test_accuracy_matches_scikit_learn(drawn: Drawn) -> None:
    values, labels = drawn
    expected = accuracy_score(labels, values.argmax(axis=1))
    assert accuracy(values, labels) == pytest.approx(expected)


@given(predictions())
@settings(max_examples=50)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_matches_scikit_learn(drawn: Drawn) -> None:
    values, labels = drawn
    expected = balanced_accuracy_score(labels, values.argmax(axis=1))
    assert balanced_accuracy(values, labels) == pytest.approx(expected)


def test_balanced_accuracy_of_always_naming_the_larger_class_is_one_half() -> None:
    values = np.array([[0.1, 0.9]] * 4, np.float32)
    assert balanced_accuracy(values, np.array([0, 1, 1, 1])) == 0.5


@given(predictions())
@settings(max_examples=50)
def test_auc_matches_scikit_learn(drawn: Drawn) -> None:
    values, labels = drawn
    count = values.shape[1]
    if len(set(labels)) < count:
        return  # scikit-learn refuses that
    exact = values[:, 1] if count == 2 else values.astype(np.float64)
    if count > 2:
        exact /= exact.sum(axis=1, keepdims=True)
    expected = roc_auc_score(labels, exact, multi_class="ovr", average="macro")
    assert auc(values, labels) == pytest.approx(expected, abs=1e-6)


def test_auc_leaves_out_classes_without_images() -> None:
    values = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.4, 0.1]], np.float32)
    assert auc(values, np.array([0, 1, 1])) == 1  # of class 2 there is none
    assert auc(values, np.array([1, 0, 1])) == 0
    assert np.isnan(auc(values, np.array([2, 2, 2])))


def test_cross_entropy_of_a_sure_mistake_is_16_nats() -> None:
    sure = np.array([[1.0, 0.0]], np.float32)
    assert cross_entropy(sure, np.array([1])) == pytest.approx(16.118, abs=1e-3)
    assert cross_entropy(sure, np.array([0])) == 0


def test_dead_units_are_zero_for_every_image() -> None:
    first = np.array([[0, 1, 0], [0, 0, 0]], np.float32)
    second = np.array([[0, 2], [3, 0]], np.float32)
    assert count_dead_units([first]) == 2
    assert count_dead_units([second]) == 0
    assert count_dead_units([first, second]) == 2
    assert count_dead_units([]) == 0
