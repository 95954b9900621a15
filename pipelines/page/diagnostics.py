"""What a report draws of the predictions: which class was taken for which, and how surely."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve

from pipelines.compare.evidence import Answers
from pipelines.compare.evidence import Row
from pipelines.page.figure import Chart
from pipelines.page.figure import COLORS
from pipelines.page.figure import DIAGONAL
from pipelines.page.figure import style

POINTS = 200  # of a curve; more cannot be seen
BINS = 10
Array = NDArray[np.float64]


def confusions(rows: Sequence[Row]) -> Chart | None:
    """What each class was taken for, in percent of the class."""
    known = [(row, row.answers) for row in rows if row.answers]
    if not known:
        return None
    columns = min(4, len(known))
    lines = -(-len(known) // columns)
    figure = make_subplots(rows=lines, cols=columns, subplot_titles=[row.label for row, _ in known],
                           vertical_spacing=0.25 / lines, horizontal_spacing=0.03)  # fmt: skip
    words = []
    for place, (row, answers) in enumerate(known):
        taken = answers.probabilities.argmax(axis=1)
        share = 100 * confusion_matrix(answers.labels, taken, labels=range(len(answers.classes)),
                                       normalize="true")  # fmt: skip
        line, column = place // columns + 1, place % columns + 1
        figure.add_heatmap(
            z=share, x=answers.classes, y=answers.classes, zmin=0, zmax=100, row=line, col=column,
            colorscale="Blues", showscale=False, texttemplate="%{z:.1f}",
            hovertemplate="%{y} taken for %{x}: %{z:.1f} %<extra></extra>",
        )  # fmt: skip
        recalls = ", ".join(f"{n} {v:.1f} %" for n, v in zip(answers.classes, np.diag(share),
                                                             strict=True))  # fmt: skip
        words.append(f"{row.label}: {recalls}")
        figure.update_xaxes(showticklabels=line == lines, row=line, col=column)
        figure.update_yaxes(autorange="reversed", showticklabels=column == 1, row=line, col=column)
    figure.update_layout(height=110 + 230 * lines)
    return Chart("Confusion matrices", figure,
                 "True class down, predicted across, percent of the true class. Recall: "
                 + "; ".join(words))  # fmt: skip


def recalls(rows: Sequence[Row]) -> Chart | None:
    """Recall of each class."""
    figure, words = go.Figure(), []
    for number, row in enumerate(rows):
        if row.answers is None:
            continue
        answers = row.answers
        taken, there = answers.probabilities.argmax(axis=1), sorted(set(answers.labels))
        share = [100 * float(np.mean(taken[answers.labels == k] == k)) for k in there]
        figure.add_bar(x=[answers.classes[k] for k in there], y=share, name=row.label,
                       marker={"color": style(number)["color"]},
                       hovertemplate=f"{row.label}<br>%{{x}} %{{y:.1f}} %<extra></extra>",
        )  # fmt: skip
        words.append(f"{row.label} least {min(share):.1f} %")
    figure.update_layout(yaxis={"title": "recall (%)"}, barmode="group", height=400)
    return Chart("Recall of each class", figure, "; ".join(words)) if words else None


def rocs(rows: Sequence[Row]) -> Chart | None:
    """ROC curves; of more than two classes, the mean over one class against the rest."""
    figure, words = go.Figure(), []
    for number, row in enumerate(rows):
        if row.answers is None or not _has_curve(row.answers):
            continue
        area, x, y = _roc(row.answers)
        figure.add_scatter(x=x, y=y, mode="lines", name=f"{row.label} (AUC {area:.4f})",
                           line={**style(number), "width": 2},
                           hovertemplate=f"{row.label}<br>%{{y:.3f}} at %{{x:.3f}}<extra></extra>",
        )  # fmt: skip
        words.append(f"AUC of {row.label}: {area:.4f}")
    figure.add_trace(DIAGONAL)
    figure.update_layout(xaxis={"title": "false positive rate"},
                         yaxis={"title": "true positive rate"}, height=450)  # fmt: skip
    return Chart("ROC curves", figure, "; ".join(words)) if words else None


def _has_curve(answers: Answers) -> bool:
    every_class = len(set(answers.labels)) == len(answers.classes)
    return every_class and bool(np.isfinite(answers.probabilities).all())


def _roc(answers: Answers) -> tuple[float, Array, Array]:
    x = np.linspace(0, 1, POINTS) ** 2  # more points where the curves bend
    sides = range(1, 2) if len(answers.classes) == 2 else range(len(answers.classes))
    each = []
    for k in sides:
        false, true, _ = roc_curve(answers.labels == k, answers.probabilities[:, k])
        each.append(np.interp(x, false, true))
    binary = len(answers.classes) == 2
    scores = answers.probabilities[:, 1] if binary else answers.probabilities
    area = roc_auc_score(answers.labels, scores, multi_class="ovr")
    return float(area), x, np.mean(each, axis=0).round(4)


def reliability(rows: Sequence[Row]) -> Chart | None:
    """How often the class is right, by the probability that the network gives it."""
    figure, words = go.Figure(), []
    for number, row in enumerate(rows):
        if row.answers is None:
            continue
        sure = row.answers.probabilities.max(axis=1)
        right = row.answers.probabilities.argmax(axis=1) == row.answers.labels
        if not np.isfinite(sure).all():
            continue
        share, mean = calibration_curve(right, np.clip(sure, 0, 1), n_bins=BINS,
                                        strategy="quantile")  # fmt: skip
        figure.add_scatter(x=mean, y=share, mode="lines+markers", name=row.label,
                           line={**style(number), "width": 2},
                           hovertemplate=f"{row.label}<br>said %{{x:.3f}}, right %{{y:.3f}}"
                           "<extra></extra>")  # fmt: skip
        words.append(f"{row.label} says {sure.mean():.3f} on average, is right {right.mean():.3f}")
    figure.add_trace(DIAGONAL)
    figure.update_layout(xaxis={"title": "probability of the class named"},
                         yaxis={"title": "share that is right"}, height=450)  # fmt: skip
    return Chart("Reliability", figure, "; ".join(words)) if words else None


def dead_units(rows: Sequence[Row]) -> Chart | None:
    """Hidden units that are zero for every validation image, of all."""
    found = [
        (row.label, np.mean([run.metrics["dead_units"] for run in row.runs]),
         np.mean([run.metrics["hidden_units"] for run in row.runs]))
        for row in rows
        if all({"dead_units", "hidden_units"} <= run.metrics.keys() for run in row.runs)
    ]  # fmt: skip
    if not found:
        return None
    labels, dead, units = zip(*found, strict=True)
    figure = go.Figure(
        go.Bar(x=100 * np.array(dead) / np.maximum(units, 1), y=labels, orientation="h",
               marker={"color": COLORS[1]}, customdata=np.stack([dead, units], axis=1),
               hovertemplate="%{y}<br>%{customdata[0]:.1f} of %{customdata[1]:.0f}<extra></extra>")
    )  # fmt: skip
    figure.update_layout(xaxis={"title": "dead hidden units (%)", "range": [0, 100]},
                         yaxis={"autorange": "reversed"}, height=130 + 32 * len(found))  # fmt: skip
    words = "; ".join(f"{name}: {d:.1f} of {u:.0f}" for name, d, u in found)
    return Chart("Dead hidden units", figure, words)


def diagnostics(rows: Sequence[Row]) -> list[Chart]:
    """Those for which the rows hold something, in the order of the report."""
    drawn = (draw(rows) for draw in (confusions, recalls, rocs, reliability, dead_units))
    return [chart for chart in drawn if chart is not None]
