"""Define a report's chart and the colors and dashes that all charts share."""

from dataclasses import dataclass

import plotly.graph_objects as go

# After Okabe and Ito (2008): color-blind readers can tell them apart too, and all are readable on
# white and on black
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#3a9bdc", "#8a6d9e")
DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class Chart:
    """A figure with its title, and a description for readers who cannot see it."""

    title: str
    figure: go.Figure
    words: str
    min_width: int = 0  # pixels; a narrower screen scrolls


def choose_style(number: int) -> dict[str, str]:
    """Return the color and dash of a row by its number, counted from 0."""
    cycle = number // len(COLORS)
    return {"color": COLORS[number % len(COLORS)], "dash": DASHES[cycle % len(DASHES)]}


DIAGONAL = go.Scatter(
    x=[0, 1],
    y=[0, 1],
    mode="lines",
    showlegend=False,
    hoverinfo="skip",
    line={"dash": "dot", "width": 1, "color": "#888888"},
)
