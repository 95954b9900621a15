"""A figure of a report, and the look that all share."""

from dataclasses import dataclass

import plotly.graph_objects as go

# Okabe and Ito's colors (2008), told apart by all; readable on white and on black
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#3a9bdc", "#8a6d9e")
DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class Chart:
    """A figure with its title, and what a reader sees in it who cannot see it."""

    title: str
    figure: go.Figure
    words: str


def style(number: int) -> dict[str, str]:
    """Color and dash of the row of that number, counted from 0."""
    turn = number // len(COLORS)
    return {"color": COLORS[number % len(COLORS)], "dash": DASHES[turn % len(DASHES)]}


DIAGONAL = go.Scatter(
    x=[0, 1], y=[0, 1], mode="lines", showlegend=False, hoverinfo="skip",
    line={"dash": "dot", "width": 1, "color": "#888888"},
)  # fmt: skip
