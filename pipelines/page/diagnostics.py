"""Draw diagnostics: ROC curves, calibration and dead hidden units."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve

from pipelines.compare.columns import format_count
from pipelines.compare.evidence import DetailedRow
from pipelines.page.class_charts import draw_confusions
from pipelines.page.class_charts import draw_recalls
from pipelines.page.figure import Chart
from pipelines.page.figure import choose_style
from pipelines.page.figure import COLORS
from pipelines.page.figure import DIAGONAL
from pipelines.runs.predictions import Answers

# Of a ROC curve: more would not be visible. They are denser on the left, where the curves bend.
FALSE_POSITIVE_RATES = np.linspace(0, 1, 200) ** 2
BINS = 10  # of the reliability diagram, with equally many images each
Array = NDArray[np.float64]


def draw_rocs(rows: Sequence[DetailedRow]) -> Chart | None:
    """Draw a ROC curve per row, with its area.

    Curve and area are means over the runs of a row, because the scores of two models are not on
    one scale. Beyond two classes, they are means over each class against the rest, too.
    """
    figure = go.Figure()
    descriptions = []
    for number, row in enumerate(rows):
        rocs = [_compute_roc(answers) for answers in row.answers_by_run if _has_roc(answers)]
        if not rocs:
            continue
        area = fmean(area for area, _ in rocs)
        figure.add_scatter(
            x=FALSE_POSITIVE_RATES,
            y=np.mean([rates for _, rates in rocs], axis=0).round(4),
            mode="lines",
            name=f"{row.label} (AUC {area:.3f})",
            line={**choose_style(number), "width": 2},
            hovertemplate=f"{row.label}<br>%{{y:.3f}} at %{{x:.3f}}<extra></extra>",
        )
        descriptions.append(f"AUC of {row.label}: {area:.3f}")
    if not descriptions:
        return None
    figure.add_trace(DIAGONAL)
    figure.update_layout(
        xaxis={"title": "false positive rate"}, yaxis={"title": "true positive rate"}, height=450
    )
    words = "Curves and areas are means over the runs of a row, without intervals."
    return Chart("ROC curves", figure, f"{words} {'; '.join(descriptions)}")


def _has_roc(answers: Answers) -> bool:
    """Return whether every class has test images and every probability is finite."""
    has_every_class = len(set(answers.labels)) == len(answers.classes)
    return has_every_class and bool(np.isfinite(answers.probabilities).all())


def _compute_roc(answers: Answers) -> tuple[float, Array]:
    """Return the area, and the true positive rates at `FALSE_POSITIVE_RATES`.

    Of two classes the second is the positive one. Of more, each in turn is positive against the
    rest, and area and true positive rates are means over the classes.
    """
    is_binary = len(answers.classes) == 2
    positives = [1] if is_binary else range(len(answers.classes))
    curves = []
    for k in positives:
        false_rates, true_rates, _ = roc_curve(answers.labels == k, answers.probabilities[:, k])
        curves.append(np.interp(FALSE_POSITIVE_RATES, false_rates, true_rates))
    scores = answers.probabilities[:, 1] if is_binary else answers.probabilities
    area = roc_auc_score(answers.labels, scores, multi_class="ovr")
    return float(area), np.mean(curves, axis=0)


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
        _add_reliability(figure, row.label, choose_style(number), confidence, is_correct)
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
