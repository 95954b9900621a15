"""Summarize a study so far, for the page of its parent run in the MLflow UI."""

import math
import shlex
import time
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from mlflow.entities import Run
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from study.config.backbones import BACKBONES
from study.config.initial_weights import weights_kind
from study.config.names import data_name
from study.config.names import make_trial_title
from study.config.trial_config import TrialConfig
from study.data.prepare import name_digest
from study.job import Outcome
from study.search import fast_budget
from study.search.best_setting import find_best_cell
from study.search.grid_plan import Cell
from study.search.grid_plan import count_trials
from study.search.grid_plan import describe_setting
from study.search.grid_plan import describe_split
from study.search.grid_plan import GridPlan
from study.search.grid_plan import Setting
from study.search.grid_scheduler import GridScheduler
from study.search.search_scheduler import Search
from study.tracking import operations
from study.tracking import ui_links
from study.tracking.operations import Operation


def summarize_grid(session: GridScheduler, run: Run) -> list[Operation]:
    """Return what to write to a grid's parent run, however much of it is trained."""
    grid = session.grid
    finished = session.finished
    failed_part = f", {len(session.failed)} failed" if session.failed else ""
    figures: dict[str, float] = {"finished": len(finished), "failed": len(session.failed)}
    status = (
        f"{_describe_grid('Grid', grid.plan)}: {len(finished)} of {len(grid.configs)} trials "
        f"finished{failed_part}. {_describe_protocol(grid.base, grid.plan.sweep.fields)}."
    )
    if not finished:
        return _make_operations(run, grid.base, [status], figures)
    best_text, accuracies = _describe_best_setting(session, run)
    paragraphs = [best_text, *_describe_chance(finished.values()), status]
    # A run that was trained before the grid has another parent. While the grid trains, its own
    # parent finds the runs that are not finished.
    is_complete = len(finished) == len(grid.configs)
    run_ids = [outcome.run_id for outcome in finished.values()] if is_complete else []
    return _make_operations(run, grid.base, paragraphs, figures | accuracies, run_ids)


def _describe_best_setting(session: GridScheduler, run: Run) -> tuple[str, dict[str, float]]:
    """Return a paragraph on the best setting, and its accuracies by metric name."""
    finished = session.finished
    grid = session.grid
    setting, *others = session.find_best_settings()
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
    link = _format_link(run, grid.configs[cell], finished[cell].run_id)
    text = (
        f"**{heading}**, {link}: validation accuracy "
        f"{_format_percent(means.val_accuracy)}, test accuracy "
        f"{_format_percent(means.test_accuracy)}{means_part}"
    )
    return text, {
        "best_cell_val_accuracy_mean": means.val_accuracy,
        "best_cell_test_accuracy_mean": means.test_accuracy,
    }


def name_best_setting(session: GridScheduler) -> str:
    """Name the best setting on validation, and say whether others tie with it."""
    setting, *others = session.find_best_settings()
    means = compute_means(session.finished, setting)
    means_part = f", means of {means.count} trainings" if means.count > 1 else ""
    name = describe_setting(setting)
    val = f"val {means.val_accuracy:.4f}"
    test = f"test {means.test_accuracy:.4f}{means_part}"
    if not others:
        return f"best on validation: {name} ({val}, {test})"
    count = len(others) + 1
    return (
        f"{count} {session.grid.plan.noun}s tie for the best on validation ({val}), the first of "
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
        _compute_mean([outcome.val_accuracy for outcome in outcomes]),
        _compute_mean([outcome.test_accuracy for outcome in outcomes]),
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
        f"{_format_percent(_compute_mean(shares))}."
    ]


def summarize_fast_grid(session: GridScheduler, run: Run) -> list[Operation]:
    """Return what to write to a fast grid's parent run.

    No test accuracy is known.
    """
    grid = session.grid
    pause_epoch = session.options.pause_after_epoch
    total = len(grid.configs)
    epochs = grid.base.epochs
    figures: dict[str, float] = {"finished": len(session.finished), "failed": len(session.failed)}
    result = fast_budget.describe_budget(session.finished, grid.plan)
    paragraphs = [f"**After {pause_epoch} of {epochs} epochs:** {result}"] if result else []
    share = pause_epoch / epochs
    paragraphs.append(
        f"{_describe_grid('Fast grid', grid.plan)}: {len(session.finished)} of {total} trials "
        f"have trained {pause_epoch} of {epochs} epochs ({share:.0%} of their compute) "
        "and are paused. The same command without `--budget fast` trains the rest. "
        f"{_describe_protocol(grid.base, grid.plan.sweep.fields)}."
    )
    return _make_operations(run, grid.base, paragraphs, figures)


def summarize_search(
    search: Search, confirmed: Mapping[TrialConfig, Outcome], doubts: Sequence[str], run: Run
) -> list[Operation]:
    """Return what to write to a search's parent run.

    Test accuracies are those of the confirming runs alone.

    Args:
        search: so far.
        confirmed: the outcomes of the confirming runs.
        doubts: why the win did not repeat in them, if so.
        run: the parent run.
    """
    ended = search.claims.finished_by_fingerprint()
    complete = sum(trial.state == TrialState.COMPLETE for trial in ended.values())
    failed = _count_failed(search, ended.keys())
    figures = {"finished": float(complete), "failed": float(failed)}
    paragraphs = []
    best = search.best()
    if best is not None:
        figures[f"best_{search.metric}"] = best.value or 0.0
        paragraphs.append(f"**Best on validation:** {_describe_best_trial(run, search, best)}")
    if confirmed:
        test_accuracy = _compute_mean([outcome.test_accuracy for outcome in confirmed.values()])
        figures["confirmed_test_accuracy_mean"] = test_accuracy
        means_part = f" (mean of {len(confirmed)} trainings)" if len(confirmed) > 1 else ""
        links = [_format_link(run, config, outcome.run_id) for config, outcome in confirmed.items()]
        paragraphs.append(
            f"**Trained again with other seeds**, its test accuracy is "
            f"{_format_percent(test_accuracy)}{means_part}: {', '.join(links)}"
        )
    if doubts:
        paragraphs.append(f"**The win did not repeat:** {'; '.join(doubts)}.")
    paragraphs.append(
        f"Search over {', '.join(search.space.free)}: {count_trials(complete)} finished, "
        f"{len(ended) - complete} pruned, {failed} failed. "
        f"{_describe_protocol(search.space.base, search.space.free)}."
    )
    return _make_operations(run, search.space.base, paragraphs, figures)


def _describe_best_trial(run: Run, search: Search, best: FrozenTrial) -> str:
    run_ids = best.user_attrs["run_ids"]
    seeds_part = f" (mean of {len(run_ids)} seeds)" if len(run_ids) > 1 else ""
    link = _format_link(run, search.space.config(best.params), run_ids[0])
    return f"{link}, {search.metric.replace('_', ' ')} {best.value:.4f}{seeds_part}"


def _count_failed(search: Search, ended_keys: Collection[str]) -> int:
    """Count the configs that failed by themselves, and neither ended nor are running."""
    failed_keys = {
        trial.user_attrs["fingerprint"]
        for trial in search.claims.trials(TrialState.FAIL)
        if "reason" in trial.user_attrs
    }
    return len(failed_keys - set(ended_keys) - search.claims.running_fingerprints())


def _make_operations(
    run: Run,
    base: TrialConfig,
    paragraphs: Sequence[str],
    figures: Mapping[str, float],
    run_ids: Sequence[str] = (),
) -> list[Operation]:
    finite_figures = {name: value for name, value in figures.items() if math.isfinite(value)}
    # The UI folds the note and shows its first lines, so the result comes before the links.
    text = "\n\n".join([*paragraphs, *_make_links(run, base, run_ids)])
    return [
        operations.metrics(finite_figures, int(time.time() * 1000), step=0),
        operations.tags({ui_links.NOTE_TAG: text}),
    ]


def _make_links(run: Run, base: TrialConfig, run_ids: Sequence[str]) -> Iterator[str]:
    """Yield paragraphs with links to more, and the commands that make the report."""
    experiment = run.info.experiment_id
    charts = ui_links.charts_link(experiment, run.info.run_id, run_ids)
    yield (
        f"[Compare the curves]({charts}) · "
        f"[all finished runs, the best first]({ui_links.view_link(experiment)})"
    )
    yield (
        "These commands write the table and the report (intervals, paired tests, leaks) and add "
        "them to this run's artifacts:"
    )
    dataset = shlex.quote(base.dataset)
    commands = [f"python -m pipelines.{name} --dataset {dataset}" for name in ("export", "report")]
    yield "\n".join(["```", *commands, "```"])


def _describe_protocol(base: TrialConfig, searched_fields: Collection[str] = ()) -> str:
    """Describe in a line what all trials of a study have in common."""
    synthetic_part = " (synthetic)" if base.dataset == "demo" else ""
    parts = {
        "dataset": f"Data set {data_name(base.dataset, name_digest(base.dataset))}{synthetic_part}",
        "backbone": BACKBONES[base.backbone].title,
        "weights": f"weights: {weights_kind(base)}",
        "split": describe_split(base),
        "image_size": f"{base.image_size} x {base.image_size} pixels",
        "epochs": f"at most {base.epochs} {'epoch' if base.epochs == 1 else 'epochs'}",
        "limit": f"about {base.limit} images" if base.limit else "all images",
    }
    return ", ".join(text for name, text in parts.items() if name not in searched_fields)


def _format_link(parent: Run, config: TrialConfig, run_id: str) -> str:
    # brackets would end the link's text
    title = (
        make_trial_title(config, name_digest(config.dataset)).replace("[", "(").replace("]", ")")
    )
    return f"[{title}]({ui_links.run_link(parent.info.experiment_id, run_id)})"


def _compute_mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _format_percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %") if math.isfinite(share) else "not delivered yet"
