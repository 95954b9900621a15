"""Numbers, lists and metrics in words."""

import pytest

from study.common.words import name_metric
from study.common.words import pluralize


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("val_auc", "validation AUC"),
        ("val_balanced_accuracy", "validation balanced accuracy"),
        ("test_accuracy", "test accuracy"),
    ],
)
def test_metric_is_named_in_words(metric: str, name: str) -> None:
    assert name_metric(metric) == name


def test_count_has_its_noun_in_the_plural_unless_it_is_one() -> None:
    assert [pluralize(count, "run") for count in (0, 1, 1168)] == ["0 runs", "1 run", "1,168 runs"]
