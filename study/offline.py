"""Train a report's seven variants, or values of your own, without MLflow.

    KERAS_BACKEND=jax python -m study.offline --dataset chest --seeds 3 --out records
    python -m study.offline --dataset chest --sweep lr=1e-5,5e-5 --out records
    python -m study.sync --from records

Run the last command on the machine with MLflow. Repeating the first one trains only what is not
finished: an interrupted config continues from its last epoch. With --workers, several configs train
at once, on a GPU or on the cores that they share. With --minutes, the command ends after the epoch
in which the time runs out. Exit code: 0 if all is finished, 3 if there is more to do, 2 after an
error.
"""

import argparse
import contextlib
import dataclasses
import functools
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from study.common.command import run_command
from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.common.parser import parse_count
from study.common.parser import Parser
from study.common.paths import check_outside
from study.common.paths import parse_path
from study.common.settings import check_keras_backend
from study.config.names import make_trial_title
from study.config.sweep import Sweep
from study.data.prepare import compute_data_digest
from study.data.prepare import compute_name_digest
from study.flags import add_config_flags
from study.flags import add_variant_list
from study.job import MAX_WORKERS
from study.job import Options
from study.job import PRELOAD
from study.job import Watch
from study.search.grid_flags import add_seeds_flag
from study.search.grid_flags import add_sweep_flags
from study.search.grid_flags import plan_grid
from study.search.grid_plan import GridPlan
from study.search.grid_plan import VARIANT
from study.search.grid_plan import VARIANT_SWEEP
from study.variants import VARIANTS
from study.workers.local import make_local_workers
from study.workers.pool import run_workers

if TYPE_CHECKING:
    from study.offline_job import JobScheduler

EXIT_UNFINISHED = 3  # exit code if configs remain to be trained


def _select_variants(plan: GridPlan, text: str | None) -> GridPlan:
    """Return the plan with the variants in `text`, such as `1,6,7`, in that order."""
    if text is None:
        return plan
    if plan.own_sweep is not None:
        raise ConfigError(
            "--variant chooses among the seven variants, which --sweep replaces: leave one out"
        )
    texts = list(dict.fromkeys(text.split(",")))
    if not {str(variant.number) for variant in VARIANTS}.issuperset(texts):
        raise ConfigError(f"variant={text!r} is unknown: use 1 to {len(VARIANTS)}, such as 1,6,7")
    numbers = tuple(int(each) for each in texts)
    sweep = Sweep({VARIANT: numbers}, VARIANT_SWEEP.baseline)
    return dataclasses.replace(plan, sweep=sweep)


def _parse_minutes(text: str | None) -> float:
    try:
        minutes = float("inf") if text is None else float(text)
    except ValueError:
        minutes = -1.0
    if not minutes > 0:
        raise ConfigError(f"minutes={text!r} is out of range: use a number above 0")
    return minutes


@dataclasses.dataclass(frozen=True)
class OfflinePlan:
    """The grid that the flags ask for, the end of its time, and the workers."""

    grid: GridPlan
    end: float  # by time.monotonic
    workers: int


def _make_plan(args: argparse.Namespace, started: float) -> OfflinePlan:
    """Return what the flags ask for, without reading an image.

    Raises:
        StudyError: a flag is wrong.
    """
    grid = plan_grid(args)
    check_outside(args.out, grid.base.dataset)
    return OfflinePlan(
        _select_variants(grid, args.variants),
        end=started + 60 * _parse_minutes(args.minutes),
        workers=1 if args.workers is None else parse_count("workers", args.workers, MAX_WORKERS),
    )


def _make_scheduler(args: argparse.Namespace, plan: OfflinePlan) -> "JobScheduler":
    # Late, because pandas takes a second to load: --help and bad flags do not need it
    from study.offline_job import Job
    from study.offline_job import JobScheduler

    base = plan.grid.base
    digest = compute_data_digest(base.dataset, base.split)
    parent_run = {
        "name": plan.grid.name(digest),
        "title": plan.grid.title(),
        "params": plan.grid.shared_fields(),
    }
    if plan.grid.own_sweep is not None:
        parent_run["sweep"] = plan.grid.own_sweep.to_json()
    configs = plan.grid.make_configs()
    keys = plan.grid.make_keys(configs, digest)
    watch = Watch("study.offline_job:check_deadline", (plan.end,))
    jobs = {}
    for number, (cell, config) in enumerate(configs.items(), start=1):
        options = Options(
            use_cache=not args.no_cache,
            label=f"[{number}/{len(configs)}] ",
            plain_progress=plan.workers > 1,
            watch=watch,
        )
        title = make_trial_title(config, compute_name_digest(config.dataset))
        jobs[cell] = Job(config, title, keys[cell], args.out, parent_run, options)
    return JobScheduler(jobs, plan.end)


def _parse_args() -> argparse.Namespace:
    parser = Parser(__doc__ or "", "study.offline")
    add = parser.add_argument
    add(
        "--out",
        metavar="DIR",
        type=parse_path,
        required=True,
        help="folder to write to; each config gets a folder in it",
    )
    add(
        "--minutes",
        metavar="M",
        help="end after the epoch in which M minutes are over [default: never]",
    )
    add(
        "--workers",
        metavar="N",
        help="train N configs at once, which share GPUs or cores [default: 1]",
    )
    add(
        "--variant",
        metavar="N",
        dest="variants",
        help="train only these, in this order, such as 1,6,7; they are listed below [default: all]",
    )
    add("--no-cache", action="store_true", help="keep decoded images in memory, not on disk")
    add_sweep_flags(parser)
    add_seeds_flag(parser)
    add_config_flags(parser)
    add_variant_list(parser)
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    started = time.monotonic()
    args = _parse_args()
    check_keras_backend()
    plan = _make_plan(args, started)  # refuses a wrong flag before a worker starts
    print(plan.grid.describe_size(), file=sys.stderr)
    with contextlib.ExitStack() as stack:
        workers = make_local_workers(plan.workers, PRELOAD)
        for worker in workers:
            stack.callback(worker.close)
        scheduler = _make_scheduler(args, plan)
        run_workers(workers, scheduler.step)
    _report_outcome(scheduler, args.out)


def _report_outcome(scheduler: "JobScheduler", out: Path) -> None:
    """Print the result, and exit with `EXIT_UNFINISHED` if the time was over.

    Raises:
        StudyError: configs failed.
    """
    say = functools.partial(print, file=sys.stderr)
    failed_part = f", {len(scheduler.failed)} failed" if scheduler.failed else ""
    summary = (
        f"{scheduler.count_finished()} of {len(scheduler.jobs)} finished in {out}{failed_part}"
    )
    if not scheduler.in_time:
        say(f"{summary}; the time is up: repeat the command to continue")
        sys.exit(EXIT_UNFINISHED)
    if scheduler.failed:
        cell, reason = next(iter(scheduler.failed.items()))
        raise StudyError(
            f"{summary}, such as {cell}: {reason}\nRepeat the command to try them again."
        )
    say(f"{summary}; deliver them to MLflow: python -m study.sync --from {shlex.quote(str(out))}")


if __name__ == "__main__":
    sys.exit(run_command(main))
