"""Charts of accuracy: what their figures and words say."""

import pandas as pd

from pipelines.compare.evidence import DetailedRow
from pipelines.compare.verdict import Verdict
from pipelines.page.charts import draw_curves
from tests.pipelines.compare.test_block_verdicts import make_run


def make_curve(*losses: float) -> pd.DataFrame:
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    epochs = range(1, len(losses) + 1)
    return pd.DataFrame({"epoch": epochs} | {name: list(losses) for name in names})


def make_row(*curves: pd.DataFrame) -> DetailedRow:
    return DetailedRow([make_run(1)], Verdict(), curves=list(curves), answers_by_run=[])


def test_mean_learning_curve_ends_with_the_shortest_run() -> None:
    row = make_row(make_curve(3.0, 2.0), make_curve(1.0, 1.0, 0.5, 0.4))
    chart = draw_curves([row])
    assert chart is not None
    for curve in chart.figure.data:
        assert (list(curve.x), list(curve.y)) == ([1, 2], [2.0, 1.5])
    assert "A mean ends with the shortest run." in chart.words
    assert chart.words.endswith(f"Validation loss of the last epochs: {row.label}: 1.200")


def test_learning_curves_of_equal_length_are_drawn_in_full() -> None:
    chart = draw_curves([make_row(make_curve(3.0, 2.0), make_curve(1.0, 1.0))])
    assert chart is not None
    assert list(chart.figure.data[0].y) == [2.0, 1.5]
    assert "shortest" not in chart.words
