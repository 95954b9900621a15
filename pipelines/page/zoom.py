"""Keep a chart readable where a few of its values lie far below all others.

The axis leaves these out, and an arrow at its lower end names them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

Span = tuple[float, float]  # the lower and the upper end of an interval, or a value twice

MAX_SHARE = 3  # at most one span in so many may be left out of a chart
MIN_GAIN = 3  # how many times larger the others must then be drawn
PADDING = 0.06  # at the upper end, as a share of what is drawn
TEXT_PADDING = 0.12  # at the lower end, where the text stands
LINE_HEIGHT = 16  # pixels


@dataclass(frozen=True)
class Mark:
    """A value of a chart, with its place on the other axis."""

    place: float | str
    span: Span
    text: str  # the value in words
    panel: int = 1


def find_zoom(spans: Sequence[Span]) -> Span | None:
    """Find the axis range that leaves out the few spans far below.

    Returns:
        None if there are none.
    """
    ordered = sorted(spans)
    for count in range(1, len(spans) // MAX_SHARE + 1):
        low = ordered[count][0]
        high = max(end for _, end in ordered)
        outliers_end = max(end for _, end in ordered[:count])
        if outliers_end < low and MIN_GAIN * (high - low) <= high - ordered[0][0]:
            return low - TEXT_PADDING * (high - low), high + PADDING * (high - low)
    return None


def zoom_sideways(figure: go.Figure, marks: Sequence[Mark]) -> None:
    """Leave out what is far to the left.

    Marks at the same place share one line of text.
    """
    zoom = find_zoom([mark.span for mark in marks])
    if zoom is None:
        return
    figure.update_xaxes(range=zoom)
    texts: dict[float | str, list[str]] = {}
    for mark in marks:
        if mark.span[1] < zoom[0]:
            texts.setdefault(mark.place, []).append(mark.text)
    for place, parts in texts.items():
        figure.add_annotation(
            text=f"\u2190 {', '.join(parts)}",
            x=0,
            xref="x domain",
            xanchor="left",
            y=place,
            yshift=9,  # off the grid line
            showarrow=False,
        )


def zoom_upright(figure: go.Figure, marks: Sequence[Mark]) -> None:
    """Leave out what is far below, in all panels alike."""
    zoom = find_zoom([mark.span for mark in marks])
    if zoom is None:
        return
    figure.update_yaxes(range=zoom)
    lines: Counter[int] = Counter()  # of text in each panel
    for mark in marks:
        if mark.span[1] < zoom[0]:
            figure.add_annotation(
                text=f"\u2193 {mark.text}",
                x=mark.place,
                xref="x" if mark.panel == 1 else f"x{mark.panel}",
                y=0,
                yref="y domain",
                yanchor="bottom",
                # Texts of near places would overprint each other on one line
                yshift=LINE_HEIGHT * lines[mark.panel],
                showarrow=False,
            )
            lines[mark.panel] += 1
