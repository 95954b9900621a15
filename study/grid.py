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
import sys

from study.common.command import run_command
from study.common.errors import ConfigError
from study.common.parser import Parser
from study.flags import add_config_flags
from study.flags import add_trial_flags
from study.flags import add_variant_list
from study.flags import check_register_flags
from study.job import Options
from study.search import fast_budget
from study.search.grid_flags import add_seeds_flag
from study.search.grid_flags import add_sweep_flags
from study.search.grid_flags import plan_grid
from study.workers.flags import add_engine_flags
from study.workers.flags import open_workers


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
        # Late, because MLflow and Optuna take seconds to load: --help and bad flags need neither
        from study.search.grid_result import print_result
        from study.search.grid_result import register_best
        from study.search.run_grid import run_grid

        log_model = args.log_model or args.register
        options = Options(
            use_cache=not args.no_cache,
            log_model=log_model,
            wait_for_lock=True,
            plain_progress=len(workers) > 1,
            pause_after_epoch=pause_after_epoch,
        )
        scheduler = run_grid(plan, options, workers)
    print_result(scheduler)
    if args.register:
        register_best(scheduler, name=args.name, force=args.force)


if __name__ == "__main__":
    sys.exit(run_command(main))
