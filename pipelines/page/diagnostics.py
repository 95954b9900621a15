"""Draw diagnostics: mistakes by class, calibration and dead hidden units."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve

from pipelines.compare.columns import format_count
from pipelines.compare.evidence import DetailedRow
from pipelines.page.figure import Chart
from pipelines.page.figure import COLORS
from pipelines.page.figure import DIAGONAL
from pipelines.page.figure import style
from pipelines.runs.predictions import Answers

POINTS = 200  # per ROC curve: more would not be visible
# Pixels of a confusion matrix, and of the space below it for labels and the next one's title
MATRIX_WIDTH = 160  # at least
MATRIX_HEIGHT = 170
MATRIX_GAP = 70
LETTER_WIDTH = 7
X_TITLE = "predicted class, in % of the true class"
BINS = 10  # of the reliability diagram, with equally many images each
Array = NDArray[np.float64]


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


def _compute_confusion(answers: Answers) -> Array:
    """Return the percent of each true class (down) predicted as each class (across)."""
    predicted = answers.probabilities.argmax(axis=1)
    labels = range(len(answers.classes))
    shares = confusion_matrix(answers.labels, predicted, labels=labels, normalize="true")
    percents: Array = 100 * shares
    return percents


def _describe_recalls(answers: Answers, percents: Array) -> str:
    recalls_by_class = zip(answers.classes, np.diag(percents), strict=True)
    return ", ".join(f"{name} {recall:.1f} %" for name, recall in recalls_by_class)


def _add_confusion(
    figure: go.Figure, percents: Array, classes: Sequence[str], line: int, column: int
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
            marker={"color": style(number)["color"]},
            hovertemplate=f"{row.label}<br>%{{x}} %{{y:.1f}} %<extra></extra>",
        )
        descriptions.append(f"{row.label}: lowest {min(percents):.1f} %")
    if not descriptions:
        return None
    figure.update_layout(yaxis={"title": "recall (%)"}, barmode="group", height=400)
    return Chart("Recall of each class", figure, "; ".join(descriptions))


def draw_rocs(rows: Sequence[DetailedRow]) -> Chart | None:
    """Draw a ROC curve per row, with its area.

    Beyond two classes, curve and area are means over each class against the rest.
    """
    figure = go.Figure()
    descriptions = []
    for number, row in enumerate(rows):
        if row.answers is None or not _has_roc(row.answers):
            continue
        area, x, y = _compute_roc(row.answers)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            name=f"{row.label} (AUC {area:.4f})",
            line={**style(number), "width": 2},
            hovertemplate=f"{row.label}<br>%{{y:.3f}} at %{{x:.3f}}<extra></extra>",
        )
        descriptions.append(f"AUC of {row.label}: {area:.4f}")
    if not descriptions:
        return None
    figure.add_trace(DIAGONAL)
    figure.update_layout(
        xaxis={"title": "false positive rate"}, yaxis={"title": "true positive rate"}, height=450
    )
    return Chart("ROC curves", figure, "; ".join(descriptions))


def _has_roc(answers: Answers) -> bool:
    """Return whether every class has test images and every probability is finite."""
    has_every_class = len(set(answers.labels)) == len(answers.classes)
    return has_every_class and bool(np.isfinite(answers.probabilities).all())


def _compute_roc(answers: Answers) -> tuple[float, Array, Array]:
    """Return the area, the false positive rates and the true positive rates.

    Of two classes the second is the positive one. Of more, each in turn is positive against the
    rest, and area and true positive rates are means over the classes.
    """
    x = np.linspace(0, 1, POINTS) ** 2  # denser on the left, where the curves bend
    is_binary = len(answers.classes) == 2
    positives = [1] if is_binary else range(len(answers.classes))
    curves = []
    for k in positives:
        false_rates, true_rates, _ = roc_curve(answers.labels == k, answers.probabilities[:, k])
        curves.append(np.interp(x, false_rates, true_rates))
    scores = answers.probabilities[:, 1] if is_binary else answers.probabilities
    area = roc_auc_score(answers.labels, scores, multi_class="ovr")
    return float(area), x, np.mean(curves, axis=0).round(4)


def draw_reliability(rows: Sequence[DetailedRow]) -> Chart | None:
    """Draw the share of correct predictions against their predicted probability."""
    figure = go.Figure()
    descriptions = []
    for number, row in enumerate(rows):
        if row.answers is None:
            continue
        confidence = row.answers.probabilities.max(axis=1)
        if not np.isfinite(confidence).all():
            continue
        is_correct = row.answers.probabilities.argmax(axis=1) == row.answers.labels
        _add_reliability(figure, row.label, style(number), confidence, is_correct)
        descriptions.append(
            f"{row.label}: mean predicted probability {confidence.mean():.3f}, share that is right "
            f"{is_correct.mean():.3f}"
        )
    if not descriptions:
        return None
    figure.add_trace(DIAGONAL)
    figure.update_layout(
        xaxis={"title": "probability of the predicted class"},
        yaxis={"title": "share that is right"},
        height=450,
    )
    return Chart("Reliability", figure, "; ".join(descriptions))


def _add_reliability(
    figure: go.Figure,
    label: str,
    line: dict[str, str],
    confidence: Array,
    is_correct: NDArray[np.bool_],
) -> None:
    share, mean = calibration_curve(
        is_correct, np.clip(confidence, 0, 1), n_bins=BINS, strategy="quantile"
    )
    figure.add_scatter(
        x=mean,
        y=share,
        mode="lines+markers",
        name=label,
        line={**line, "width": 2},
        hovertemplate=f"{label}<br>predicted %{{x:.3f}}, right %{{y:.3f}}<extra></extra>",
    )


def draw_dead_units(rows: Sequence[DetailedRow]) -> Chart | None:
    """Draw the percent of hidden units that are zero for every validation image."""
    unit_counts = [
        (row.label, _average_metric(row, "dead_units"), _average_metric(row, "hidden_units"))
        for row in rows
        if all({"dead_units", "hidden_units"} <= run.metrics.keys() for run in row.runs)
    ]
    if not unit_counts:
        return None
    labels, dead, hidden = zip(*unit_counts, strict=True)
    figure = go.Figure(
        go.Bar(
            x=100 * np.array(dead) / np.maximum(hidden, 1),
            y=labels,
            orientation="h",
            marker={"color": COLORS[1]},
            customdata=np.stack([dead, hidden], axis=1),
            hovertemplate="%{y}<br>%{customdata[0]:.1f} of %{customdata[1]:.0f}<extra></extra>",
        )
    )
    figure.update_layout(
        xaxis={"title": "dead hidden units (%)", "range": [0, 100]},
        yaxis={"autorange": "reversed"},
        height=130 + 32 * len(unit_counts),
    )
    words = "; ".join(f"{label}: {format_count(d)} of {h:.0f}" for label, d, h in unit_counts)
    return Chart("Dead hidden units", figure, words)


def _average_metric(row: DetailedRow, name: str) -> float:
    return float(np.mean([run.metrics[name] for run in row.runs]))


def draw_diagnostics(rows: Sequence[DetailedRow]) -> list[Chart]:
    """Draw the charts that the rows have predictions for, in the order of the report."""
    drawn = (
        draw(rows)
        for draw in (draw_confusions, draw_recalls, draw_rocs, draw_reliability, draw_dead_units)
    )
    return [chart for chart in drawn if chart is not None]
