"""What a report draws of accuracy: beside the reported, over epochs, by time and by factor."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pipelines.compare.evidence import base_of
from pipelines.compare.evidence import Row
from pipelines.page.figure import Chart
from pipelines.page.figure import COLORS
from pipelines.page.figure import style


def accuracies(rows: Sequence[Row]) -> Chart | None:
    """Test accuracy of each row with its interval, and the reported figure beside it."""
    known = [row for row in rows if row.verdict.accuracy]
    if not known:
        return None
    found = [row.verdict.accuracy for row in known if row.verdict.accuracy]
    values = np.array([[e.value, e.low, e.high] for e in found]) * 100
    labels = [row.label for row in known]
    ours = go.Scatter(
        x=values[:, 0], y=labels, mode="markers", name="this study, 95 % interval",
        error_x={"array": values[:, 2] - values[:, 0], "arrayminus": values[:, 0] - values[:, 1],
                 "color": COLORS[0]},
        marker={"size": 10, "color": COLORS[0]},
        hovertemplate="%{y}<br>%{x:.2f} %<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(ours)
    reports = [(100 * row.report.test_acc, row.label) for row in known if row.report]
    if reports:
        x, y = zip(*reports, strict=True)
        figure.add_scatter(
            x=x, y=y, mode="markers", name="the report",
            marker={"symbol": "diamond-open", "size": 11, "color": COLORS[1], "line": {"width": 2}},
            hovertemplate="%{y}<br>reported %{x:.2f} %<extra></extra>",
        )  # fmt: skip
    figure.update_layout(yaxis={"autorange": "reversed"}, xaxis={"title": "test accuracy (%)"},
                         height=130 + 38 * len(known))  # fmt: skip
    words = "; ".join(
        f"{row.label}: {100 * e.value:.2f} % ({100 * e.low:.2f} to {100 * e.high:.2f})"
        for row, e in zip(known, found, strict=True)
    )
    return Chart("Test accuracy", figure, words)


def curves(rows: Sequence[Row]) -> Chart | None:
    """Loss and accuracy over epochs: the mean over a row's runs."""
    if not any(row.curves for row in rows):
        return None
    titles = ("loss", "accuracy")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.09)
    for number, row in enumerate(rows):
        if not row.curves:
            continue
        mean = pd.concat(row.curves).groupby("epoch").mean(numeric_only=True)
        for column, name in enumerate(titles, start=1):
            for part, width in (("val_", 2.2), ("", 0.9)):
                figure.add_scatter(
                    x=mean.index, y=mean[part + name], row=1, col=column, mode="lines",
                    name=row.label, legendgroup=str(number),
                    showlegend=column == 1 and part == "val_",
                    line={**style(number), "width": width},
                    hovertemplate=f"{row.label}<br>{'validation' if part else 'training'} {name} "
                    "%{y:.4f} after epoch %{x}<extra></extra>",
                )  # fmt: skip
    figure.update_xaxes(title="epoch")
    figure.update_layout(height=430)
    last = [f"{row.label}: {np.mean([c['val_loss'].iloc[-1] for c in row.curves]):.3f}"
            for row in rows if row.curves]  # fmt: skip
    return Chart("Loss and accuracy over epochs", figure,
                 "Thick: validation, thin: training. Select or hide a variant in the legend. "
                 f"Last validation loss of {'; '.join(last)}")  # fmt: skip


def times(rows: Sequence[Row]) -> Chart | None:
    """Accuracy against learning time."""
    figure, words = go.Figure(), []
    for number, row in enumerate(rows):
        minutes = float(np.median([r.metrics.get("fit_seconds", np.nan) for r in row.runs])) / 60
        if row.verdict.accuracy is None or not np.isfinite(minutes):
            continue
        value = 100 * row.verdict.accuracy.value
        figure.add_scatter(
            x=[minutes], y=[value], mode="markers", name=row.label,
            marker={"size": 12, "color": style(number)["color"]},
            hovertemplate=f"{row.label}<br>%{{x:.1f}} min, %{{y:.2f}} %<extra></extra>",
        )  # fmt: skip
        words.append(f"{row.label}: {minutes:.1f} min, {value:.2f} %")
    figure.update_layout(xaxis={"title": "median learning time (minutes)", "rangemode": "tozero"},
                         yaxis={"title": "test accuracy (%)"}, height=420)  # fmt: skip
    return Chart("Accuracy against learning time", figure, "; ".join(words)) if words else None


FACTORS = {
    "Hidden layers": ("hidden_layers", (1, 4, 5)),
    "Dense units": ("dense_units", (1, 2, 3)),
    "Learning rate": ("lr", (1, 6, 7)),
}


def factors(rows: Sequence[Row]) -> Chart | None:
    """What each factor changes against the base, with its interval."""
    by_variant = {row.variant: row for row in rows if row.variant}
    base = base_of(rows)
    if base is None or not any(row.verdict.gain for row in rows):
        return None
    figure = make_subplots(rows=1, cols=3, shared_yaxes=True, subplot_titles=list(FACTORS))
    words = []
    for column, (title, (field, variants)) in enumerate(FACTORS.items(), start=1):
        points = []
        for variant in variants:
            row = by_variant.get(variant)
            if row is None or (row is not base and row.verdict.gain is None):
                continue
            gain = row.verdict.gain
            triple = (0.0, 0.0, 0.0) if gain is None else (gain.value, gain.low, gain.high)
            points.append((f"{getattr(row.runs[0].config, field):g}", *triple))
            if gain is not None:
                words.append(f"{title.lower()} {points[-1][0]}: {100 * gain.value:+.2f} points "
                             f"({100 * gain.low:+.2f} to {100 * gain.high:+.2f})")  # fmt: skip
        names, value, low, high = zip(*points, strict=True)
        y = 100 * np.array(value)
        figure.add_scatter(
            x=names, y=y, row=1, col=column, mode="lines+markers", name=title, showlegend=False,
            line={"color": COLORS[column - 1]}, marker={"size": 10},
            error_y={"array": 100 * np.array(high) - y, "arrayminus": y - 100 * np.array(low)},
            hovertemplate=f"{title} %{{x}}<br>%{{y:+.2f}} points<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="points of accuracy above the base", row=1, col=1)
    figure.add_hline(y=0, line={"dash": "dot", "width": 1, "color": "#888888"})
    figure.update_layout(height=400)
    return Chart("The effect of each factor", figure, "; ".join(words))


def charts(rows: Sequence[Row]) -> list[Chart]:
    """Those for which the rows hold something, in the order of the report."""
    drawn = (draw(rows) for draw in (accuracies, curves, times, factors))
    return [chart for chart in drawn if chart is not None]
