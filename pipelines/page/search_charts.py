"""Draw a search: how important each field is, and where the good configs lie."""

import contextlib
from collections.abc import Mapping
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.importance import get_param_importances
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import create_trial
from optuna.visualization import plot_parallel_coordinate

from pipelines.page.figure import Chart
from pipelines.page.figure import COLORS
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.protocol import describe_protocol
from pipelines.runs.protocol import find_differing_settings
from pipelines.runs.protocol import protocol
from study.common.words import join_distinct
from study.common.words import name_metric
from study.search.space import make_ranges
from study.search.space import make_space

MIN_TRIALS = 8  # fewer are seen as well in the table
AXIS_WIDTH = 100  # pixels, so that the values of neighboring axes do not overlap
MIN_IMPORTANCE_TRIALS = 30  # PED-ANOVA compares the best tenth, at least three, with the others
Trial = list[FinishedRun]  # one config, with a run for each seed


def draw_search_charts(
    runs: Sequence[FinishedRun], objectives: Mapping[str, str] | None = None
) -> list[Chart]:
    """Draw importances and parallel coordinates of a search's finished trials.

    Importances are by PED-ANOVA (Watanabe et al. 2023): they show which fields set the best tenth
    of the trials apart. Of searches under several protocols or with other seeds, only the one with
    the most trials is drawn.

    Args:
        runs: of searches and others.
        objectives: the metric that a search judges by, by the run ID of its parent. By default it
            is the validation accuracy.

    Returns:
        Two charts. None of fewer than `MIN_TRIALS` trials, and no importances of fewer than
        `MIN_IMPORTANCE_TRIALS`.
    """
    search_runs = [run for run in runs if run.role == "search"]
    searches = _group_trials(search_runs)
    if not searches:
        return []
    trials = searches[0]
    metric = (objectives or {}).get(trials[0][0].parent, "val_accuracy")
    study = _rebuild_study(trials, metric)
    shown = len(study.trials)
    total = sum(map(len, searches))
    count = str(shown) if shown == total else f"{shown} of {total}"
    words = _describe_search(trials, search_runs)
    charts = []
    if shown >= MIN_IMPORTANCE_TRIALS:
        charts.append(_draw_importances(study, count, words))
    if shown >= MIN_TRIALS:
        charts.append(_draw_coordinates(study, name_metric(metric), count, words))
    return charts


def _group_trials(runs: Sequence[FinishedRun]) -> list[list[Trial]]:
    """Group runs into trials, and these by search: the one with the most, or the latest, first."""
    runs_by_config: dict[tuple[Any, ...], Trial] = {}
    for run in runs:
        key = (_list_fixed_values(run), run.config.replace(seed=0))
        runs_by_config.setdefault(key, []).append(run)
    trials_by_search: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in runs_by_config.values():
        seeds = tuple(sorted(run.config.seed for run in trial))
        trials_by_search.setdefault((_list_fixed_values(trial[0]), seeds), []).append(trial)
    return sorted(
        trials_by_search.values(),
        key=lambda trials: (len(trials), max(trial[0].started for trial in trials)),
        reverse=True,
    )


def _list_fixed_values(run: FinishedRun) -> tuple[Any, ...]:
    """List the values of the fields that no search changes."""
    searched = make_ranges(run.config)
    return tuple(value for name, value in protocol(run).items() if name not in searched)


def _describe_search(trials: Sequence[Trial], runs: Sequence[FinishedRun]) -> str:
    """Describe the protocol of the trials that are drawn, among all runs of searches."""
    run = trials[0][0]
    searched = make_ranges(run.config)
    named = [name for name in find_differing_settings(runs) if name not in searched]
    seeds = join_distinct(str(each.config.seed) for each in trials[0])
    return f"{describe_protocol(run, named, tuple(searched))}, seed {seeds}"


def _rebuild_study(trials: Sequence[Trial], metric: str) -> optuna.Study:
    """Return the trials as an Optuna study of the fields that vary between them."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize" if metric == "val_loss" else "maximize")
    configs = [trial[0].config.as_dict() for trial in trials]
    varied = {
        name: distribution
        for name, distribution in make_space(trials[0][0].config).free.items()
        if len({config[name] for config in configs}) > 1
    }
    for trial, config in zip(trials, configs, strict=True):
        # Leave out trials that lack the metric, or have a value out of range
        with contextlib.suppress(KeyError, ValueError):
            params = {name: config[name] for name in varied}
            value = fmean(run.metrics[metric] for run in trial)
            study.add_trial(create_trial(value=value, params=params, distributions=varied))
    return study


def _draw_importances(study: optuna.Study, count: str, search: str) -> Chart:
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
        f"Importance of each field in the search ({count} trials)", figure, f"{search}. {words}"
    )


def _draw_coordinates(study: optuna.Study, metric: str, count: str, search: str) -> Chart:
    figure = plot_parallel_coordinate(study, target_name=metric)
    figure.update_layout(title=None, height=460, margin={"l": 60, "r": 60})
    axes = len(study.best_params) + 1
    best = study.best_trial
    words = ", ".join(f"{name} {value}" for name, value in best.params.items())
    return Chart(
        f"The search's trials ({count})",
        figure,
        f"{search}. Best {metric}, {best.value:.4f}: {words}",
        min_width=AXIS_WIDTH * axes,
    )
