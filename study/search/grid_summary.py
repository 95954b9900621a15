"""Summarize a grid so far, for the page of its parent run in the MLflow UI."""

import math
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from mlflow.entities import Run

from study.job import Outcome
from study.search import fast_budget
from study.search.best_setting import find_best_cell
from study.search.grid_plan import Cell
from study.search.grid_plan import describe_setting
from study.search.grid_plan import GridPlan
from study.search.grid_plan import Setting
from study.search.grid_scheduler import GridScheduler
from study.search.study_page import describe_protocol
from study.search.study_page import format_known_percent
from study.search.study_page import format_link
from study.search.study_page import make_operations
from study.tracking.operations import Operation


def summarize_grid(scheduler: GridScheduler, run: Run) -> list[Operation]:
    """Return what to write to a grid's parent run, however much of it is trained."""
    grid = scheduler.grid
    finished = scheduler.finished
    failed_part = f", {len(scheduler.failed)} failed" if scheduler.failed else ""
    figures: dict[str, float] = {"finished": len(finished), "failed": len(scheduler.failed)}
    protocol = describe_protocol(grid.base, scheduler.name_digest, grid.plan.sweep.fields)
    status = (
        f"{_describe_grid('Grid', grid.plan)}: {len(finished)} of {len(grid.configs)} trials "
        f"finished{failed_part}. {protocol}."
    )
    if not finished:
        return make_operations(run, grid.base, [status], figures)
    best_text, accuracies = _describe_best_setting(scheduler, run)
    paragraphs = [best_text, *_describe_chance(finished.values()), status]
    # A run that was trained before the grid has another parent. While the grid trains, its own
    # parent finds the runs that are not finished.
    is_complete = len(finished) == len(grid.configs)
    run_ids = [outcome.run_id for outcome in finished.values()] if is_complete else []
    return make_operations(run, grid.base, paragraphs, figures | accuracies, run_ids)


def _describe_best_setting(scheduler: GridScheduler, run: Run) -> tuple[str, dict[str, float]]:
    """Return a paragraph on the best setting, and its accuracies by metric name."""
    finished = scheduler.finished
    grid = scheduler.grid
    setting, *others = scheduler.find_best_settings()
    cell = find_best_cell(finished, setting)
    means = compute_means(finished, setting)
    means_part = (
        f", means over its {means.count} trainings, the best of which is linked"
        if means.count > 1
        else ""
    )
    heading = f"Best on validation: {describe_setting(setting)}"
    if others:
        heading = (
            f"{len(others) + 1} {grid.plan.noun}s tie for the best on validation. The first of "
            f"them: {describe_setting(setting)}"
        )
    link = format_link(run, grid.configs[cell], finished[cell].run_id, scheduler.name_digest)
    text = (
        f"**{heading}**, {link}: validation accuracy "
        f"{format_known_percent(means.val_accuracy)}, test accuracy "
        f"{format_known_percent(means.test_accuracy)}{means_part}"
    )
    return text, {
        "best_cell_val_accuracy_mean": means.val_accuracy,
        "best_cell_test_accuracy_mean": means.test_accuracy,
    }


def name_best_setting(scheduler: GridScheduler) -> str:
    """Name the best setting on validation, and say whether others tie with it."""
    setting, *others = scheduler.find_best_settings()
    means = compute_means(scheduler.finished, setting)
    means_part = f", means of {means.count} trainings" if means.count > 1 else ""
    name = describe_setting(setting)
    val = f"val {means.val_accuracy:.4f}"
    test = f"test {means.test_accuracy:.4f}{means_part}"
    if not others:
        return f"best on validation: {name} ({val}, {test})"
    count = len(others) + 1
    return (
        f"{count} {scheduler.grid.plan.noun}s tie for the best on validation ({val}), the first of "
        f"them {name} ({test})"
    )


@dataclass(frozen=True)
class SettingMeans:
    """The mean accuracies of a grid's setting over its seeds and folds."""

    count: int  # of trainings
    val_accuracy: float
    test_accuracy: float


def compute_means(finished: Mapping[Cell, Outcome], setting: Setting) -> SettingMeans:
    """Compute the mean accuracies of a setting's finished cells.

    There must be at least one such cell.
    """
    outcomes = [outcome for cell, outcome in finished.items() if cell.setting == setting]
    return SettingMeans(
        len(outcomes),
        fmean([outcome.val_accuracy for outcome in outcomes]),
        fmean([outcome.test_accuracy for outcome in outcomes]),
    )


def _describe_grid(kind: str, plan: GridPlan) -> str:
    article = "the " if plan.own_sweep is None else ""
    return f"{kind} of {article}{plan.describe_sweep()}"


def _describe_chance(outcomes: Iterable[Outcome]) -> list[str]:
    """Say what predicting the most frequent class would reach, if a trial logged it."""
    shares = [outcome.majority for outcome in outcomes if not math.isnan(outcome.majority)]
    if not shares:
        return []
    return [
        "Always predicting the most frequent class has a test accuracy of "
        f"{format_known_percent(fmean(shares))}."
    ]


def summarize_fast_grid(scheduler: GridScheduler, run: Run) -> list[Operation]:
    """Return what to write to a fast grid's parent run.

    No test accuracy is known.
    """
    grid = scheduler.grid
    pause_epoch = scheduler.options.pause_after_epoch
    total = len(grid.configs)
    epochs = grid.base.epochs
    figures: dict[str, float] = {
        "finished": len(scheduler.finished),
        "failed": len(scheduler.failed),
    }
    result = fast_budget.describe_budget(scheduler.finished, grid.plan)
    paragraphs = [f"**After {pause_epoch} of {epochs} epochs:** {result}"] if result else []
    share = pause_epoch / epochs
    paragraphs.append(
        f"{_describe_grid('Fast grid', grid.plan)}: {len(scheduler.finished)} of {total} trials "
        f"have trained {pause_epoch} of {epochs} epochs ({share:.0%} of their compute) "
        "and are paused. The same command without `--budget fast` trains the rest. "
        f"{describe_protocol(grid.base, scheduler.name_digest, grid.plan.sweep.fields)}."
    )
    return make_operations(run, grid.base, paragraphs, figures)
