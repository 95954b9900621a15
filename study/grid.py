"""Train the seven variants of a report as an Optuna grid, each as an MLflow run.

    python -m study.grid --dataset demo
    python -m study.grid --dataset chest --image-size 96 --epochs 3 --seeds 2
    python -m study.grid --dataset demo --split grouped --folds 5
    python -m study.grid --dataset chest --seeds 3 --budget fast

The runs stand under one parent run. Repeating the command trains only what is not finished: an
interrupted variant continues from its last epoch, and a failed one is tried again. On PostgreSQL,
the same command on another machine helps to train the rest. The variants set hidden_layers,
dense_units and lr, so these have no flags. With --folds and no --fold, each fold in turn is the
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
from study.job import Options
from study.search import fast_budget
from study.search import summary
from study.search.claims import Claims
from study.search.grid_plan import add_seeds_flag
from study.search.grid_plan import BY_VARIANT
from study.search.grid_plan import describe_setting
from study.search.grid_plan import GridPlan
from study.search.grid_plan import parent_run_title
from study.search.grid_plan import plan_grid
from study.search.grid_scheduler import build_grid
from study.search.grid_scheduler import Grid
from study.search.grid_scheduler import GridScheduler
from study.search.storage import Storage
from study.search.study_run import open_study_run
from study.search.summary import best_cell
from study.serving.registry import register_model
from study.tracking import connection
from study.tracking.parent_run import is_complete
from study.tracking.parent_run import StudySpec
from study.variants import VARIANTS
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
    grid = make_grid(plan, data_digest(plan.base.dataset))
    if options.pause_after_epoch:
        grid = dataclasses.replace(grid, name=f"{grid.name}-until-{options.pause_after_epoch}")
    storage = Storage(grid.name)
    with storage.held():
        session = GridScheduler(grid, Claims(storage, "maximize"), client, options)
        session.progress.say(
            f"{grid.name}: {len(grid.configs)} trials, {len(session.finished)} finished already"
        )
        # a process that was killed before its end leaves a parent run that is not complete
        is_parent_complete = is_complete(client, grid.name)
        if len(session.finished) < len(grid.configs) or not is_parent_complete:
            _train_under_parent(session, workers, options)
    return session


def _train_under_parent(
    session: GridScheduler, workers: Sequence[Worker], options: Options
) -> None:
    """Train the missing cells below the grid's parent run, and summarize them there."""
    plan = session.grid.plan
    base = plan.base
    kind = plan.describe_sweep()
    if options.pause_after_epoch:
        kind += ", fast"
    summarize = summary.summarize_fast_grid if options.pause_after_epoch else summary.summarize_grid
    spec = StudySpec(
        base.dataset, session.grid.name, parent_run_title(kind, base), plan.shared_fields()
    )
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
        best = best_cell(session.finished)
        outcome = session.finished[best]
        say(
            f"{len(session.finished)} of {len(grid.configs)} finished; best on validation: "
            f"{describe_setting(best.setting)} "
            f"(val {outcome.val_accuracy:.4f}, test {outcome.test_accuracy:.4f})"
        )
        say(f"table: python -m pipelines.export --dataset {shlex.quote(grid.base.dataset)}")
    if session.failed:
        cell, reason = next(iter(session.failed.items()))
        raise StudyError(
            f"{len(session.failed)} of {len(grid.configs)} trials failed, such as {cell}: "
            f"{reason}\nRepeat the command to try them again."
        )


def _register_best(session: GridScheduler) -> None:
    """Register the model of the best variant's best training."""
    cell = best_cell(session.finished)
    count = sum(other.setting == cell.setting for other in session.finished)
    training = (
        "the only training"
        if count == 1
        else f"the best (by validation accuracy) of {count} trainings"
    )
    reason = f"{training} of the best of {len(VARIANTS)} variants (by mean validation accuracy)"
    run_id = session.finished[cell].run_id
    config = session.grid.configs[cell]
    session.progress.say(f"best variant by mean validation accuracy: {cell}")
    register_model(session.client, run_id, config, reason, session.progress)


def _parse_args() -> argparse.Namespace:
    parser = Parser(__doc__ or "", "study.grid")
    add_seeds_flag(parser)
    parser.add_argument(
        "--budget",
        choices=("full", "fast"),
        default="full",
        help="fast: compare after a third of the epochs, on validation alone [default: full]",
    )
    add_engine_flags(parser)
    add_trial_flags(parser)
    add_config_flags(parser, leave_out=BY_VARIANT)
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = _parse_args()
    plan = plan_grid(args)
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
        _register_best(session)


if __name__ == "__main__":
    sys.exit(run_command(main))
