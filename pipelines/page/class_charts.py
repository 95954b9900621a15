"""Draw mistakes by class: confusion matrices and recalls."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from sklearn.metrics import confusion_matrix

from pipelines.compare.evidence import DetailedRow
from pipelines.page.figure import Chart
from pipelines.page.figure import choose_style
from pipelines.runs.predictions import Answers

Percents = NDArray[np.float64]
# Pixels of a confusion matrix, and of the space below it for labels and the next one's title
MATRIX_WIDTH = 160  # at least
MATRIX_HEIGHT = 170
MATRIX_GAP = 70
LETTER_WIDTH = 7
X_TITLE = "predicted class, in % of the true class"


def draw_confusions(rows: Sequence[DetailedRow]) -> Chart | None:
    """Draw a confusion matrix per row, in percent of the true class."""
    answered = [(row, row.answers) for row in rows if row.answers]
    if not answered:
        return None
    width = min(4, len(answered))
    height = math.ceil(len(answered) / width)
    turned = _measure_turned_labels(answered[0][1].classes)
    gap = MATRIX_GAP + turned
    plot_height = height * (MATRIX_HEIGHT + gap)
    figure = make_subplots(
        rows=height,
        cols=width,
        subplot_titles=[row.label for row, _ in answered],
        vertical_spacing=gap / plot_height,
        horizontal_spacing=0.03,
        x_title=X_TITLE,
        y_title="true class",
    )
    descriptions = []
    for index, (row, answers) in enumerate(answered):
        line = index // width + 1
        column = index % width + 1
        percents = _compute_confusion(answers)
        _add_confusion(figure, percents, answers.classes, line, column)
        # Matrices of a line share the labels of the first column
        figure.update_yaxes(autorange="reversed", showticklabels=column == 1, row=line, col=column)
        descriptions.append(f"{row.label}: {_describe_recalls(answers, percents)}")
    # Below the names of the classes
    figure.update_annotations({"yshift": -30 - turned}, selector={"text": X_TITLE})
    figure.update_layout(height=110 + plot_height + turned, margin={"b": 60 + turned})
    return Chart(
        "Confusion matrices",
        figure,
        "Rows are true classes, columns predicted ones, in percent of the true class. Recall: "
        + "; ".join(descriptions),
        min_width=110 + MATRIX_WIDTH * width,
    )


def _measure_turned_labels(classes: Sequence[str]) -> int:
    """Return the height of class names, in pixels, where plotly turns them for lack of room."""
    longest = LETTER_WIDTH * max(len(name) for name in classes)
    return longest if longest * len(classes) > MATRIX_WIDTH else 0


def _compute_confusion(answers: Answers) -> Percents:
    """Return the percent of each true class (down) predicted as each class (across)."""
    predicted = answers.probabilities.argmax(axis=1)
    labels = range(len(answers.classes))
    shares = confusion_matrix(answers.labels, predicted, labels=labels, normalize="true")
    percents: Percents = 100 * shares
    return percents


def _describe_recalls(answers: Answers, percents: Percents) -> str:
    recalls_by_class = zip(answers.classes, np.diag(percents), strict=True)
    return ", ".join(f"{name} {recall:.1f} %" for name, recall in recalls_by_class)


def _add_confusion(
    figure: go.Figure, percents: Percents, classes: Sequence[str], line: int, column: int
) -> None:
    figure.add_heatmap(
        z=percents,
        x=classes,
        y=classes,
        zmin=0,
        zmax=100,
        row=line,
        col=column,
        colorscale="Blues",
        showscale=False,
        texttemplate="%{z:.1f}",
        hovertemplate="%{y} predicted as %{x}: %{z:.1f} %<extra></extra>",
    )


def draw_recalls(rows: Sequence[DetailedRow]) -> Chart | None:
    """Draw the recall of each class that the test images have, in percent."""
    figure = go.Figure()
    descriptions = []
    for number, row in enumerate(rows):
        if row.answers is None:
            continue
        labels = row.answers.labels
        predicted = row.answers.probabilities.argmax(axis=1)
        present = sorted(set(labels))
        percents = [100 * float(np.mean(predicted[labels == k] == k)) for k in present]
        figure.add_bar(
            x=[row.answers.classes[k] for k in present],
            y=percents,
            name=row.label,
            marker={"color": choose_style(number)["color"]},
            hovertemplate=f"{row.label}<br>%{{x}} %{{y:.1f}} %<extra></extra>",
        )
        descriptions.append(f"{row.label}: lowest {min(percents):.1f} %")
    if not descriptions:
        return None
    figure.update_layout(yaxis={"title": "recall (%)"}, barmode="group", height=400)
    return Chart("Recall of each class", figure, "; ".join(descriptions))
