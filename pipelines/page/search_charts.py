"""What a report draws of a search: what mattered, and where the good configs lie."""

import contextlib
from collections.abc import Sequence

import optuna
import plotly.graph_objects as go
from optuna.importance import get_param_importances
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import create_trial
from optuna.visualization import plot_parallel_coordinate

from pipelines.page.figure import Chart
from pipelines.page.figure import COLORS
from pipelines.runs.finished import FinishedRun
from study.search.space import make_space

FEWEST = 8  # trials, below which an importance says nothing


def search_charts(runs: Sequence[FinishedRun]) -> list[Chart]:
    """Importance and parallel coordinates of a search's finished trials; none if they are few.

    Objective: validation accuracy. Importance: PED-ANOVA (Watanabe et al. 2023), of what tells the
    best tenth from the others.
    """
    study = _study([run for run in runs if run.role == "search"])
    if len(study.trials) < FEWEST:
        return []
    return [_importance(study), _coordinates(study)]


def _study(runs: Sequence[FinishedRun]) -> optuna.Study:
    """What the search saw, of the fields that it varied."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    values = [run.config.as_dict() for run in runs]
    space = make_space(runs[0].config).free if runs else {}
    free = {k: v for k, v in space.items() if len({each[k] for each in values}) > 1}
    for run, each in zip(runs, values, strict=True):
        with contextlib.suppress(KeyError, ValueError):  # without the figure, or out of range
            params = {name: each[name] for name in free}
            value = run.metrics["val_accuracy"]
            study.add_trial(create_trial(value=value, params=params, distributions=free))
    return study


def _importance(study: optuna.Study) -> Chart:
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    names, shares = list(found), [100 * share for share in found.values()]
    bar = go.Bar(x=shares, y=names, orientation="h", marker={"color": COLORS[0]},
                 hovertemplate="%{y}: %{x:.1f} %<extra></extra>")  # fmt: skip
    figure = go.Figure(bar)
    figure.update_layout(xaxis={"title": "importance (%)"}, yaxis={"autorange": "reversed"},
                         height=130 + 32 * len(names))  # fmt: skip
    words = "; ".join(f"{n}: {s:.1f} %" for n, s in zip(names, shares, strict=True))
    return Chart(f"What mattered in the search ({len(study.trials)} trials)", figure, words)


def _coordinates(study: optuna.Study) -> Chart:
    figure = plot_parallel_coordinate(study, target_name="validation accuracy")
    figure.update_layout(title=None, height=460)
    best = study.best_trial
    words = ", ".join(f"{name} {value}" for name, value in best.params.items())
    return Chart("The search's trials", figure,
                 f"Best on validation, {best.value:.4f}: {words}")  # fmt: skip
