"""Draw accuracy: beside the reported one, over epochs and by time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pipelines.compare.blocks import Row
from pipelines.compare.evidence import DetailedRow
from pipelines.compare.formats import format_accuracy
from pipelines.compare.row_figures import compute_median_fit_seconds
from pipelines.page.figure import Chart
from pipelines.page.figure import choose_style
from pipelines.page.figure import COLORS
from pipelines.page.gain_charts import draw_factors
from pipelines.page.zoom import Mark
from pipelines.page.zoom import zoom_sideways
from pipelines.page.zoom import zoom_upright
from study.common.words import format_percent
from study.statistics.intervals import Estimate


def draw_accuracies(rows: Sequence[Row]) -> Chart | None:
    """Draw each row's test accuracy with its interval, beside the reported one."""
    estimates = [
        (row.label, row.verdict.accuracy) for row in rows if row.verdict.accuracy is not None
    ]
    if not estimates:
        return None
    figure = go.Figure(_draw_intervals(estimates))
    reported = [
        (100 * row.report.test_acc, row.label)
        for row in rows
        if row.verdict.accuracy and row.report
    ]
    if reported:
        _add_reported(figure, reported)
    figure.update_layout(
        yaxis={"autorange": "reversed"},
        xaxis={"title": "test accuracy (%)"},
        height=130 + 38 * len(estimates),
    )
    zoom_sideways(figure, [*_mark_accuracies(estimates), *_mark_reported(reported)])
    words = "; ".join(f"{label}: {format_accuracy(estimate)}" for label, estimate in estimates)
    return Chart("Test accuracy", figure, words)


def _draw_intervals(estimates: Sequence[tuple[str, Estimate]]) -> go.Scatter:
    bounds = [(estimate.value, estimate.low, estimate.high) for _, estimate in estimates]
    percents = np.array(bounds) * 100
    value, low, high = percents.T
    return go.Scatter(
        x=value,
        y=[label for label, _ in estimates],
        mode="markers",
        name="this study, 95 % interval",
        error_x={"array": high - value, "arrayminus": value - low, "color": COLORS[0]},
        marker={"size": 10, "color": COLORS[0]},
        hovertemplate="%{y}<br>%{x:.1f} %<extra></extra>",
    )


def _add_reported(figure: go.Figure, reported: Sequence[tuple[float, str]]) -> None:
    """Add the reported accuracies, each in percent with the label of its row."""
    percents, labels = zip(*reported, strict=True)
    figure.add_scatter(
        x=percents,
        y=labels,
        mode="markers",
        name="the report",
        marker={"symbol": "diamond-open", "size": 11, "color": COLORS[1], "line": {"width": 2}},
        hovertemplate="%{y}<br>reported %{x:.1f} %<extra></extra>",
    )


def _mark_accuracies(estimates: Sequence[tuple[str, Estimate]]) -> list[Mark]:
    return [
        Mark(label, (100 * estimate.low, 100 * estimate.high), format_percent(estimate.value))
        for label, estimate in estimates
    ]


def _mark_reported(reported: Sequence[tuple[float, str]]) -> list[Mark]:
    return [
        Mark(label, (percent, percent), f"reported {percent:.1f} %") for percent, label in reported
    ]


def draw_curves(rows: Sequence[DetailedRow]) -> Chart | None:
    """Draw loss and accuracy over epochs, as the mean of each row's runs.

    A mean ends with the shortest run, because it would jump where a run no longer counts.
    """
    if not any(row.curves for row in rows):
        return None
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=("loss", "accuracy"), horizontal_spacing=0.09
    )
    for number, row in enumerate(rows):
        if row.curves:
            _add_curves(figure, number, row)
    figure.update_xaxes(title="epoch")
    figure.update_layout(height=430)
    last_losses = [
        f"{row.label}: {np.mean([curve['val_loss'].iloc[-1] for curve in row.curves]):.3f}"
        for row in rows
        if row.curves
    ]
    lengths = [{len(curve) for curve in row.curves} for row in rows]
    end = " A mean ends with the shortest run." if any(len(each) > 1 for each in lengths) else ""
    return Chart(
        "Loss and accuracy over epochs",
        figure,
        f"Thick lines are of validation, thin ones of training.{end} Select a name in the legend "
        f"to hide it. Validation loss of the last epochs: {'; '.join(last_losses)}",
    )


def _add_curves(figure: go.Figure, number: int, row: DetailedRow) -> None:
    """Add a row's loss and accuracy, of validation (thick) and of training (thin)."""
    length = min(map(len, row.curves))
    curves = pd.concat([curve[:length] for curve in row.curves])
    mean = curves.groupby("epoch").mean(numeric_only=True)
    for column, metric in enumerate(("loss", "accuracy"), start=1):
        for prefix, part, width in (("val_", "validation", 2.2), ("", "training", 0.9)):
            figure.add_scatter(
                x=mean.index,
                y=mean[prefix + metric],
                row=1,
                col=column,
                mode="lines",
                name=row.label,
                legendgroup=str(number),
                # One legend entry shows or hides all four curves
                showlegend=column == 1 and part == "validation",
                line={**choose_style(number), "width": width},
                hovertemplate=f"{row.label}<br>{part} {metric} "
                "%{y:.4f} after epoch %{x}<extra></extra>",
            )


def draw_times(rows: Sequence[Row]) -> Chart | None:
    """Draw accuracy against the median learning time of each row, in minutes."""
    figure = go.Figure()
    descriptions = []
    marks = []
    for number, row in enumerate(rows):
        minutes = compute_median_fit_seconds(row.runs) / 60
        if row.verdict.accuracy is None or not np.isfinite(minutes):
            continue
        percent = 100 * row.verdict.accuracy.value
        figure.add_scatter(
            x=[minutes],
            y=[percent],
            mode="markers",
            name=row.label,
            marker={"size": 12, "color": choose_style(number)["color"]},
            hovertemplate=f"{row.label}<br>%{{x:.1f}} min, %{{y:.1f}} %<extra></extra>",
        )
        descriptions.append(f"{row.label}: {minutes:.1f} min, {percent:.1f} %")
        marks.append(Mark(minutes, (percent, percent), f"{row.label}: {percent:.1f} %"))
    if not descriptions:
        return None
    figure.update_layout(
        xaxis={"title": "median learning time (minutes)", "rangemode": "tozero"},
        yaxis={"title": "test accuracy (%)"},
        height=420,
    )
    zoom_upright(figure, marks)
    return Chart("Accuracy against learning time", figure, "; ".join(descriptions))


def draw_accuracy_charts(rows: Sequence[DetailedRow]) -> list[Chart]:
    """Draw the charts that the rows have evidence for, in the order of the report."""
    drawn = (draw(rows) for draw in (draw_accuracies, draw_curves, draw_times, draw_factors))
    return [chart for chart in drawn if chart is not None]
