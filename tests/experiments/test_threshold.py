"""The threshold that validation chooses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.threshold import choose_threshold
from experiments.threshold import make_row
from experiments.threshold import measure_at
from study.common.errors import StudyError

SCORES = st.floats(0, 1, width=16)


@given(st.lists(SCORES, min_size=1), st.lists(SCORES, min_size=1))
def test_chosen_threshold_has_the_highest_balanced_accuracy(
    negatives: list[float], positives: list[float]
) -> None:
    scores = np.array(negatives + positives)
    labels = np.repeat([0, 1], [len(negatives), len(positives)])
    candidates = [*scores, scores.max() + 1]
    best = max(measure_at(each, labels, scores)["balanced_accuracy"] for each in candidates)
    chosen = measure_at(choose_threshold(labels, scores), labels, scores)
    assert chosen["balanced_accuracy"] == pytest.approx(best)


def test_threshold_is_in_the_middle_of_the_gap_between_classes() -> None:
    labels = np.array([0, 0, 1, 1])
    assert choose_threshold(labels, np.array([0.1, 0.2, 0.6, 0.9])) == pytest.approx(0.4)


def test_threshold_of_validation_is_applied_to_test() -> None:
    scores = [0.1, 0.2, 0.6, 0.9, 0.3, 0.45, 0.45, 0.8]
    predictions = pd.DataFrame(
        {
            "split": ["val"] * 4 + ["test"] * 4,
            "label": ["ill" if i in (2, 3, 5, 6, 7) else "well" for i in range(8)],
            "p_well": 1 - np.array(scores),
            "p_ill": scores,
        }
    )
    row = make_row(predictions)
    assert row["threshold"] == pytest.approx(0.4)
    assert (row["accuracy_at_half"], row["accuracy_tuned"], row["limit"]) == (0.5, 1.0, 1.0)
    assert (row["val_auc"], row["test_auc"]) == (1.0, 1.0)


def test_threshold_of_three_classes_is_refused() -> None:
    predictions = pd.DataFrame({"split": [], "label": [], "p_a": [], "p_b": [], "p_c": []})
    with pytest.raises(StudyError, match="3 classes"):
        make_row(predictions)
