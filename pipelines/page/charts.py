"""Draw accuracy: beside the reported figures, over epochs, by time and by factor."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pipelines.compare.blocks import find_baseline
from pipelines.compare.blocks import Row
from pipelines.compare.cells import format_value
from pipelines.compare.cells import name_field
from pipelines.compare.evidence import DetailedRow
from pipelines.compare.formats import format_accuracy
from pipelines.compare.formats import format_difference
from pipelines.compare.formats import format_percent
from pipelines.compare.formats import format_signed_points
from pipelines.compare.main_effects import MainEffect
from pipelines.compare.reflection import FACTORS
from pipelines.compare.reflection import format_setting
from pipelines.page.figure import Chart
from pipelines.page.figure import COLORS
from pipelines.page.figure import style
from pipelines.page.zoom import Mark
from pipelines.page.zoom import zoom_sideways
from pipelines.page.zoom import zoom_upright
from study.statistics.intervals import Estimate

# Values of a factor or a field, each with its gain over the baseline
Gains = Sequence[tuple[str, Estimate | None]]


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
    """Draw loss and accuracy over epochs, as the mean of each row's runs."""
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
    return Chart(
        "Loss and accuracy over epochs",
        figure,
        "Thick lines are of validation, thin ones of training. Select a name in the legend to "
        f"hide it. Final validation loss: {'; '.join(last_losses)}",
    )


def _add_curves(figure: go.Figure, number: int, row: DetailedRow) -> None:
    """Add a row's loss and accuracy, of validation (thick) and of training (thin)."""
    mean = pd.concat(row.curves).groupby("epoch").mean(numeric_only=True)
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
                line={**style(number), "width": width},
                hovertemplate=f"{row.label}<br>{part} {metric} "
                "%{y:.4f} after epoch %{x}<extra></extra>",
            )


def draw_times(rows: Sequence[Row]) -> Chart | None:
    """Draw accuracy against the median learning time of each row, in minutes."""
    figure = go.Figure()
    descriptions = []
    marks = []
    for number, row in enumerate(rows):
        seconds = [run.metrics.get("fit_seconds", np.nan) for run in row.runs]
        minutes = float(np.median(seconds)) / 60
        if row.verdict.accuracy is None or not np.isfinite(minutes):
            continue
        percent = 100 * row.verdict.accuracy.value
        figure.add_scatter(
            x=[minutes],
            y=[percent],
            mode="markers",
            name=row.label,
            marker={"size": 12, "color": style(number)["color"]},
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


def draw_factors(rows: Sequence[Row]) -> Chart | None:
    """Draw how each factor changes accuracy against the baseline, with intervals."""
    baseline = find_baseline(rows)
    if baseline is None or baseline.cell or not any(row.verdict.gain for row in rows):
        return None
    panels = [(title, _list_gains(rows, baseline, title)) for title in FACTORS]
    return _draw_gains("The effect of each factor", panels)


def draw_effects(effects: Sequence[MainEffect]) -> Chart | None:
    """Draw how each field of a sweep changes accuracy, averaged over the others."""
    if not effects:
        return None
    panels = [(name_field(effect.field), _list_effect_gains(effect)) for effect in effects]
    return _draw_gains("The effect of each setting", panels)


def _list_effect_gains(effect: MainEffect) -> Gains:
    """List the values of a field with their gains, None for that of the baseline."""
    return [
        (format_value(effect.field, level.value), level.gain)
        for level in effect.levels
        if level.gain is not None or level.value == effect.baseline
    ]


def _draw_gains(title: str, panels: Sequence[tuple[str, Gains]]) -> Chart:
    """Draw gains over the baseline in panels that share an axis.

    Args:
        title: of the chart.
        panels: the title of each, and what it shows.
    """
    titles = [panel_title for panel_title, _ in panels]
    figure = make_subplots(rows=1, cols=len(panels), shared_yaxes=True, subplot_titles=titles)
    descriptions = []
    marks = []
    for column, (panel_title, gains) in enumerate(panels, start=1):
        _add_gains(figure, column, panel_title, gains)
        marks += _mark_gains(column, gains)
        descriptions += [
            f"{panel_title.lower()} {value}: {format_difference(gain)} points"
            for value, gain in gains
            if gain is not None
        ]
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="difference from the baseline (points)", row=1, col=1)
    figure.add_hline(y=0, line={"dash": "dot", "width": 1, "color": "#888888"})
    figure.update_layout(height=400)
    zoom_upright(figure, marks)
    return Chart(title, figure, "; ".join(descriptions))


def _list_gains(rows: Sequence[Row], baseline: Row, title: str) -> Gains:
    """Return a factor's values, each with its gain over the baseline.

    The baseline has no gain over itself: None.
    """
    field, variants = FACTORS[title]
    by_variant = {row.variant: row for row in rows if row.variant}
    return [
        (format_setting(row, field), row.verdict.gain)
        for variant in variants
        if (row := by_variant.get(variant)) is not None
        and (row is baseline or row.verdict.gain is not None)
    ]


def _add_gains(figure: go.Figure, column: int, title: str, gains: Gains) -> None:
    """Add a factor's gains to its column, the baseline at zero, in percentage points."""
    bounds = [(gain.value, gain.low, gain.high) if gain else (0.0, 0.0, 0.0) for _, gain in gains]
    value, low, high = 100 * np.array(bounds).T
    figure.add_scatter(
        x=[name for name, _ in gains],
        y=value,
        row=1,
        col=column,
        mode="lines+markers",
        name=title,
        showlegend=False,
        line={"color": style(column - 1)["color"]},
        marker={"size": 10},
        error_y={"array": high - value, "arrayminus": value - low},
        hovertemplate=f"{title} %{{x}}<br>%{{y:+.1f}} points<extra></extra>",
    )


def _mark_gains(column: int, gains: Gains) -> list[Mark]:
    """Return a mark of each gain, placed by its number.

    Plotly misplaces a mark that is placed by a name like "3".
    """
    return [
        Mark(
            number,
            (100 * gain.low, 100 * gain.high) if gain else (0.0, 0.0),
            format_signed_points(gain.value) if gain else "0",
            column,
        )
        for number, (_, gain) in enumerate(gains)
    ]


def draw_accuracy_charts(rows: Sequence[DetailedRow]) -> list[Chart]:
    """Draw the charts that the rows have evidence for, in the order of the report."""
    drawn = (draw(rows) for draw in (draw_accuracies, draw_curves, draw_times, draw_factors))
    return [chart for chart in drawn if chart is not None]
