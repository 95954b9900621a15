"""Draw how far each variant or setting lies above or below the baseline."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pipelines.compare.blocks import find_baseline
from pipelines.compare.blocks import Row
from pipelines.compare.cells import format_value
from pipelines.compare.cells import name_field
from pipelines.compare.formats import format_difference
from pipelines.compare.formats import format_signed_points
from pipelines.compare.main_effects import MainEffect
from pipelines.compare.reflection import FACTORS
from pipelines.compare.reflection import format_factor_value
from pipelines.page.figure import Chart
from pipelines.page.figure import choose_style
from pipelines.page.zoom import Mark
from pipelines.page.zoom import zoom_upright
from study.statistics.intervals import Estimate

# Values of a factor or a field, each with its gain over the baseline
Gains = Sequence[tuple[str, Estimate | None]]


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
    return Chart(title, figure, f"95 % intervals, not adjusted. {'; '.join(descriptions)}")


def _list_gains(rows: Sequence[Row], baseline: Row, title: str) -> Gains:
    """Return a factor's values, each with its gain over the baseline.

    The baseline has no gain over itself: None.
    """
    field, variants = FACTORS[title]
    by_variant = {row.variant: row for row in rows if row.variant}
    return [
        (format_factor_value(row, field), row.verdict.gain)
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
        line={"color": choose_style(column - 1)["color"]},
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
