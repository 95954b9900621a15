"""Train the missing trials of a grid under its parent run."""

import dataclasses
from collections.abc import Sequence

from study.common.progress import Progress
from study.common.words import pluralize
from study.data.prepare import compute_data_digest
from study.job import Options
from study.search.claims import Claims
from study.search.grid_plan import GridPlan
from study.search.grid_scheduler import GridScheduler
from study.search.grid_space import build_grid
from study.search.grid_space import Grid
from study.search.grid_summary import summarize_fast_grid
from study.search.grid_summary import summarize_grid
from study.search.storage import Storage
from study.search.study_run import open_study_run
from study.search.time_estimate import estimate_time
from study.tracking import connection
from study.tracking import outages
from study.tracking.parent_run import find_parent_run
from study.tracking.parent_run import is_complete
from study.tracking.parent_run import StudySpec
from study.tracking.project_run import point_to_parent_run
from study.tracking.project_run import take_grid_run
from study.workers.pool import run_workers
from study.workers.pool import Worker


def make_grid(plan: GridPlan, digest: str) -> Grid:
    """Make the cells of a grid, whose name is unique to the data set and the settings."""
    return build_grid(plan.name(digest), plan, digest)


def run_grid(plan: GridPlan, options: Options, workers: Sequence[Worker]) -> GridScheduler:
    """Train the missing cells of a grid.

    Raises:
        StudyError: the data or a server is not available, or another process runs this grid.
    """
    client = outages.retry_at_start(connection.connect, Progress())
    project_run = take_grid_run(client)
    digest = compute_data_digest(plan.base.dataset, plan.base.split)
    grid = make_grid(plan, digest)
    if options.pause_after_epoch:
        grid = dataclasses.replace(grid, name=f"{grid.name}-until-{options.pause_after_epoch}")
    spec = _make_spec(grid, options)
    storage = Storage(grid.name)
    with storage.lock_for_process():
        scheduler = GridScheduler(grid, Claims(storage, "maximize"), client, options)
        _print_size(scheduler, digest, len(workers))
        # a process that was killed before its end leaves a parent run that is not complete
        if len(scheduler.finished) < len(grid.configs) or not is_complete(client, spec):
            _train_under_parent(scheduler, workers, spec)
    if project_run is not None:
        _point_to_parent_run(scheduler, project_run)
    return scheduler


def _point_to_parent_run(scheduler: GridScheduler, project_run: str) -> None:
    """Let the run that `mlflow run` opened say under which run the trials stand."""
    if (parent_run := find_parent_run(scheduler.client, scheduler.grid.name)) is not None:
        point_to_parent_run(scheduler.client, project_run, parent_run)


def _make_spec(grid: Grid, options: Options) -> StudySpec:
    """Return what the grid's parent run is to show."""
    plan = grid.plan
    dataset = plan.base.dataset
    if options.pause_after_epoch:
        # without the sweep, which the parent run of the full grid has
        return StudySpec(dataset, grid.name, plan.title(fast=True), plan.shared_fields())
    return StudySpec(dataset, grid.name, plan.title(), plan.shared_fields(), plan.own_sweep)


def _print_size(scheduler: GridScheduler, digest: str, worker_count: int) -> None:
    """Print how many trials the grid has, and about how long the remaining ones take."""
    grid = scheduler.grid
    say = scheduler.progress.say
    say(grid.plan.describe_size())
    finished_part = f"{len(scheduler.finished)} finished already"
    say(f"{grid.name}: {pluralize(len(grid.configs), 'trial')}, {finished_part}")
    remaining = [config for cell, config in grid.configs.items() if cell not in scheduler.finished]
    if remaining:
        pause_after_epoch = scheduler.options.pause_after_epoch
        say(
            estimate_time(
                scheduler.client, remaining, digest, workers=worker_count, epochs=pause_after_epoch
            )
        )


def _train_under_parent(
    scheduler: GridScheduler, workers: Sequence[Worker], spec: StudySpec
) -> None:
    """Train the missing cells below the grid's parent run, and summarize them there."""
    options = scheduler.options
    summarize = summarize_fast_grid if options.pause_after_epoch else summarize_grid
    with open_study_run(scheduler.claims, scheduler.client, spec) as study_run:
        scheduler.options = dataclasses.replace(options, parent=study_run.id)
        try:
            _train_cells(scheduler, workers)
        finally:
            study_run.write(summarize(scheduler, study_run.run))


def _train_cells(scheduler: GridScheduler, workers: Sequence[Worker]) -> None:
    try:
        run_workers(workers, scheduler.step)
    except KeyboardInterrupt:
        done = len(scheduler.finished)
        total = len(scheduler.grid.configs)
        scheduler.progress.say(f"stopped with {done} of {total} finished")
        raise
