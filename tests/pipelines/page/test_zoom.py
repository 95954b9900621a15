"""Charts leave out the few values far below all others, and name them at the edge."""

import plotly.graph_objects as go
import pytest

from pipelines.page.zoom import find_zoom
from pipelines.page.zoom import Mark
from pipelines.page.zoom import zoom_sideways
from pipelines.page.zoom import zoom_upright

ACCURACIES = {"1": 99.1, "2": 99.4, "3": 98.8, "4": 95.4, "6": 99.8, "7": 98.3}


def make_marks(values: dict[str, float]) -> list[Mark]:
    return [
        Mark(name, (value - 1, min(value + 1, 100)), f"{value} %") for name, value in values.items()
    ]


def list_texts(figure: go.Figure) -> dict[str, str]:
    return {annotation.y: annotation.text for annotation in figure.layout.annotations}


def test_zoom_with_one_dead_network_shows_the_others_and_names_it() -> None:
    figure = go.Figure(layout={"xaxis": {"title": "test accuracy (%)"}})
    marks = make_marks(ACCURACIES | {"5": 50.0})
    zoom_sideways(figure, [*marks, Mark("5", (50.1, 50.1), "reported 50.1 %")])
    low, high = figure.layout.xaxis.range
    assert 93 < low < 94.4
    assert 100 < high < 101
    assert list_texts(figure) == {"5": "\u2190 50.0 %, reported 50.1 %"}
    assert figure.layout.xaxis.title.text == "test accuracy (%)"


def test_zoom_with_a_reported_value_in_range_names_only_the_other() -> None:
    figure = go.Figure(layout={"xaxis": {"title": "test accuracy (%)"}})
    marks = make_marks(ACCURACIES | {"5": 50.0})
    zoom_sideways(figure, [*marks, Mark("5", (96.5, 96.5), "reported 96.5 %")])
    assert list_texts(figure) == {"5": "\u2190 50.0 %"}


def test_zoom_of_panels_marks_the_panel_of_the_value() -> None:
    figure = go.Figure()
    marks = [Mark(0, (0, 0), "0"), Mark(1, (-1, 1), "+0.0"), Mark(2, (-58, -40), "-49.2", 3)]
    zoom_upright(figure, marks)
    (annotation,) = figure.layout.annotations
    assert (annotation.xref, annotation.x, annotation.text) == ("x3", 2, "\u2193 -49.2")


def test_zoom_gives_each_text_of_a_panel_a_line_of_its_own() -> None:
    figure = go.Figure()
    values = (69.5, 69.2, 69.0, 68.8, 69.1, 69.3, 50.0, 51.0)
    zoom_upright(figure, [Mark(0.37, (value, value), f"{value} %") for value in values])
    first, second = figure.layout.annotations
    assert first.yshift + 12 < second.yshift


@pytest.mark.parametrize(
    "spans",
    [
        [],
        [(50, 50)],
        [(50, 50), (99, 99)],
        [(93, 95), (95, 97), (96, 98), (96, 99)],  # none lies far below
        [(50, 50), (51, 51), (98, 98), (99, 99)],  # half of them are no outliers
        [(40, 99), (97, 98), (98, 99), (98, 99)],  # the interval reaches the others
        [(50, 50)] * 4,
    ],
)
def test_zoom_without_a_few_outliers_is_none(spans: list[tuple[float, float]]) -> None:
    assert find_zoom(spans) is None
