"""Train a report's seven variants, or values of your own, as MLflow runs.

    python -m study.grid --dataset demo
    python -m study.grid --dataset ./cells --sweep lr=1e-5,5e-5 --sweep head=flatten,gap --seeds 3
    python -m study.grid --dataset demo --split grouped --folds 5
    python -m study.grid --dataset chest --seeds 3 --budget fast

The runs stand under one parent run. Repeating the command trains only what is not finished: an
interrupted trial continues from its last epoch, and a failed one is tried again. On PostgreSQL,
the same command on another machine helps to train the rest. With --sweep, the trials have all
combinations of the values, and a later call may add more of them. Without it, the seven variants
set hidden_layers, dense_units and lr. With --folds and no --fold, each fold in turn is the
test set of a trial. With --budget fast, every trial is paused after a third of its epochs, and the
same command without it trains the remaining epochs.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence

from study.common.command import Parser
from study.common.command import run_command
from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.data.prepare import data_digest
from study.flags import add_config_flags
from study.flags import add_trial_flags
from study.flags import add_variant_list
from study.flags import check_register_flags
from study.job import Options
from study.search import fast_budget
from study.search import summary
from study.search.best_setting import find_best_cell
from study.search.claims import Claims
from study.search.grid_flags import add_seeds_flag
from study.search.grid_flags import add_sweep_flags
from study.search.grid_flags import plan_grid
from study.search.grid_plan import count_trials
from study.search.grid_plan import GridPlan
from study.search.grid_scheduler import GridScheduler
from study.search.grid_space import build_grid
from study.search.grid_space import Grid
from study.search.storage import Storage
from study.search.study_run import open_study_run
from study.search.time_estimate import estimate_time
from study.serving.chance import check_beats_chance
from study.serving.registry import register_model
from study.tracking import connection
from study.tracking.parent_run import find_parent_run
from study.tracking.parent_run import is_complete
from study.tracking.parent_run import StudySpec
from study.tracking.project_run import point_to_parent_run
from study.tracking.project_run import take_grid_run
from study.workers.flags import add_engine_flags
from study.workers.flags import open_workers
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
    client = connection.connect()
    project_run = take_grid_run(client)
    digest = data_digest(plan.base.dataset, plan.base.split)
    grid = make_grid(plan, digest)
    if options.pause_after_epoch:
        grid = dataclasses.replace(grid, name=f"{grid.name}-until-{options.pause_after_epoch}")
    spec = _make_spec(grid, options)
    storage = Storage(grid.name)
    with storage.held():
        session = GridScheduler(grid, Claims(storage, "maximize"), client, options)
        _print_size(session, digest, len(workers))
        # a process that was killed before its end leaves a parent run that is not complete
        if len(session.finished) < len(grid.configs) or not is_complete(client, spec):
            _train_under_parent(session, workers, spec)
    if project_run is not None:
        _point_to_parent_run(session, project_run)
    return session


def _point_to_parent_run(session: GridScheduler, project_run: str) -> None:
    """Let the run that `mlflow run` opened say under which run the trials stand."""
    if (parent_run := find_parent_run(session.client, session.grid.name)) is not None:
        point_to_parent_run(session.client, project_run, parent_run)


def _make_spec(grid: Grid, options: Options) -> StudySpec:
    """Return what the grid's parent run is to show."""
    plan = grid.plan
    dataset = plan.base.dataset
    if options.pause_after_epoch:
        # without the sweep, which the parent run of the full grid has
        return StudySpec(dataset, grid.name, plan.title(fast=True), plan.shared_fields())
    return StudySpec(dataset, grid.name, plan.title(), plan.shared_fields(), plan.own_sweep)


def _print_size(session: GridScheduler, digest: str, worker_count: int) -> None:
    """Print how many trials the grid has, and about how long the remaining ones take."""
    grid = session.grid
    say = session.progress.say
    say(grid.plan.describe_size())
    finished_part = f"{len(session.finished)} finished already"
    say(f"{grid.name}: {count_trials(len(grid.configs))}, {finished_part}")
    remaining = [config for cell, config in grid.configs.items() if cell not in session.finished]
    if remaining:
        pause_after_epoch = session.options.pause_after_epoch
        say(
            estimate_time(
                session.client, remaining, digest, workers=worker_count, epochs=pause_after_epoch
            )
        )


def _train_under_parent(session: GridScheduler, workers: Sequence[Worker], spec: StudySpec) -> None:
    """Train the missing cells below the grid's parent run, and summarize them there."""
    options = session.options
    summarize = summary.summarize_fast_grid if options.pause_after_epoch else summary.summarize_grid
    with open_study_run(session.claims, session.client, spec) as study_run:
        session.options = dataclasses.replace(options, parent=study_run.id)
        try:
            _train_cells(session, workers)
        finally:
            study_run.write(summarize(session, study_run.run))


def _train_cells(session: GridScheduler, workers: Sequence[Worker]) -> None:
    try:
        run_workers(workers, session.step)
    except KeyboardInterrupt:
        done = len(session.finished)
        total = len(session.grid.configs)
        session.progress.say(f"stopped with {done} of {total} finished")
        raise


def _summarize(session: GridScheduler) -> None:
    """Print the result of a grid.

    Raises:
        StudyError: trials failed.
    """
    grid = session.grid
    say = session.progress.say
    if session.finished and session.options.pause_after_epoch:
        done = len(session.finished)
        total = len(grid.configs)
        epochs = f"{session.options.pause_after_epoch} of {grid.base.epochs} epochs"
        say(f"{done} of {total} trials have trained {epochs}")
        say(fast_budget.describe_budget(session.finished, grid.plan))
        say("no test image was used; repeat the command without --budget fast to train the rest")
    elif session.finished:
        say(
            f"{len(session.finished)} of {len(grid.configs)} finished; "
            f"{summary.name_best_setting(session)}"
        )
        say(f"table: python -m pipelines.export --dataset {shlex.quote(grid.base.dataset)}")
    if session.failed:
        cell, reason = next(iter(session.failed.items()))
        raise StudyError(
            f"{len(session.failed)} of {len(grid.configs)} trials failed, such as {cell}: "
            f"{reason}\nRepeat the command to try them again."
        )


def _register_best(session: GridScheduler, args: argparse.Namespace) -> None:
    """Register the model of the best config's best training.

    Raises:
        StudyError: the config is no better than chance, or the model was not logged.
    """
    plan = session.grid.plan
    setting, *others = session.find_best_settings()
    cell = find_best_cell(session.finished, setting)
    outcomes = [
        outcome for other, outcome in session.finished.items() if other.setting == cell.setting
    ]
    if not args.force:
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
    run_id = session.finished[cell].run_id
    config = session.grid.configs[cell]
    session.progress.say(f"{choice} of the {plan.noun}s {by}: {cell}")
    register_model(session.client, run_id, config, reason, session.progress, name=args.name)


def _parse_args() -> argparse.Namespace:
    parser = Parser(__doc__ or "", "study.grid")
    add_sweep_flags(parser)
    add_seeds_flag(parser)
    parser.add_argument(
        "--budget",
        choices=("full", "fast"),
        default="full",
        help="fast: compare after a third of the epochs, on validation alone [default: full]",
    )
    add_engine_flags(parser)
    add_trial_flags(parser)
    add_config_flags(parser)
    add_variant_list(parser)
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = _parse_args()
    check_register_flags(args)
    plan = plan_grid(args)
    if args.budget == "fast" and "epochs" in plan.sweep.fields:
        raise ConfigError("--budget fast needs one number of epochs: leave out --sweep epochs")
    pause_after_epoch = fast_budget.fast_epochs(plan.base.epochs) if args.budget == "fast" else 0
    if pause_after_epoch and args.register:
        raise ConfigError("--register needs a finished model: leave out --budget fast")
    with open_workers(args) as workers:
        log_model = args.log_model or args.register
        options = Options(
            use_cache=not args.no_cache,
            log_model=log_model,
            wait_for_lock=True,
            plain_progress=len(workers) > 1,
            pause_after_epoch=pause_after_epoch,
        )
        session = run_grid(plan, options, workers)
    _summarize(session)
    if args.register:
        _register_best(session, args)


if __name__ == "__main__":
    sys.exit(run_command(main))
