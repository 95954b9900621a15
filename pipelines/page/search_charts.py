"""Draw a search: how important each field is, and where the good configs lie."""

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
from pipelines.runs.finished_run import FinishedRun
from study.search.space import make_space

MIN_TRIALS = 8  # trials: the importances of fewer mean nothing


def draw_search_charts(runs: Sequence[FinishedRun]) -> list[Chart]:
    """Draw importances and parallel coordinates of a search's finished trials.

    The objective is validation accuracy. Importances are by PED-ANOVA (Watanabe et al. 2023): they
    show which fields set the best tenth of the trials apart.

    Returns:
        Two charts, or none if there are fewer than `MIN_TRIALS` trials.
    """
    study = _rebuild_study([run for run in runs if run.role == "search"])
    if len(study.trials) < MIN_TRIALS:
        return []
    return [_draw_importances(study), _draw_coordinates(study)]


def _rebuild_study(runs: Sequence[FinishedRun]) -> optuna.Study:
    """Return the trials as an Optuna study of the fields that vary between them."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    configs = [run.config.as_dict() for run in runs]
    space = make_space(runs[0].config).free if runs else {}
    varied = {
        name: distribution
        for name, distribution in space.items()
        if len({config[name] for config in configs}) > 1
    }
    for run, config in zip(runs, configs, strict=True):
        # Leave out runs that lack the metric, or have a value out of range
        with contextlib.suppress(KeyError, ValueError):
            params = {name: config[name] for name in varied}
            value = run.metrics["val_accuracy"]
            study.add_trial(create_trial(value=value, params=params, distributions=varied))
    return study


def _draw_importances(study: optuna.Study) -> Chart:
    importances = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    percents = {name: 100 * importance for name, importance in importances.items()}
    figure = go.Figure(
        go.Bar(
            x=list(percents.values()),
            y=list(percents),
            orientation="h",
            marker={"color": COLORS[0]},
            hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
        )
    )
    figure.update_layout(
        xaxis={"title": "importance (%)"},
        yaxis={"autorange": "reversed"},
        height=130 + 32 * len(percents),
    )
    words = "; ".join(f"{name}: {percent:.1f} %" for name, percent in percents.items())
    return Chart(
        f"Importance of each field in the search ({len(study.trials)} trials)", figure, words
    )


def _draw_coordinates(study: optuna.Study) -> Chart:
    figure = plot_parallel_coordinate(study, target_name="validation accuracy")
    figure.update_layout(title=None, height=460)
    best = study.best_trial
    words = ", ".join(f"{name} {value}" for name, value in best.params.items())
    return Chart("The search's trials", figure, f"Best on validation, {best.value:.4f}: {words}")
