"""Print the result of a grid, and register its best model."""

import shlex

from study.common.errors import StudyError
from study.search import fast_budget
from study.search.best_setting import find_best_cell
from study.search.grid_scheduler import GridScheduler
from study.search.grid_summary import name_best_setting
from study.serving.chance import check_beats_chance
from study.serving.registry import register_model


def print_result(scheduler: GridScheduler) -> None:
    """Print the result of a grid.

    Raises:
        StudyError: trials failed.
    """
    grid = scheduler.grid
    say = scheduler.progress.say
    if scheduler.finished and scheduler.options.pause_after_epoch:
        done = len(scheduler.finished)
        total = len(grid.configs)
        epochs = f"{scheduler.options.pause_after_epoch} of {grid.base.epochs} epochs"
        say(f"{done} of {total} trials have trained {epochs}")
        say(fast_budget.describe_budget(scheduler.finished, grid.plan))
        say("no test image was used; repeat the command without --budget fast to train the rest")
    elif scheduler.finished:
        finished = f"{len(scheduler.finished)} of {len(grid.configs)} finished"
        say(f"{finished}; {name_best_setting(scheduler)}")
        say(f"table: python -m pipelines.export --dataset {shlex.quote(grid.base.dataset)}")
    if scheduler.failed:
        cell, reason = next(iter(scheduler.failed.items()))
        raise StudyError(
            f"{len(scheduler.failed)} of {len(grid.configs)} trials failed, such as {cell}: "
            f"{reason}\nRepeat the command to try them again."
        )


def register_best(scheduler: GridScheduler, *, name: str | None, force: bool) -> None:
    """Register the model of the best config's best training.

    Raises:
        StudyError: the config is no better than chance, or the model was not logged.
    """
    plan = scheduler.grid.plan
    setting, *others = scheduler.find_best_settings()
    cell = find_best_cell(scheduler.finished, setting)
    outcomes = [
        outcome for other, outcome in scheduler.finished.items() if other.setting == setting
    ]
    if not force:
        check_beats_chance(outcomes)
    count = len(outcomes)
    training = (
        "the only training"
        if count == 1
        else f"the best (by validation accuracy) of {count} trainings"
    )
    choice = f"the first of {len(others) + 1} that tie for the best" if others else "the best"
    by = "by mean validation accuracy"
    reason = f"{training} of {choice} of {len(plan.settings)} {plan.noun}s ({by})"
    run_id = scheduler.finished[cell].run_id
    config = scheduler.grid.configs[cell]
    scheduler.progress.say(f"{choice} of the {plan.noun}s {by}: {cell}")
    register_model(scheduler.client, run_id, config, reason, scheduler.progress, name=name)
