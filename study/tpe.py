"""Search beyond the seven variants with Optuna, judged by validation alone.

    python -m study.tpe --dataset chest --trials 40
    python -m study.tpe --dataset demo --fix lr=1e-3 --fix head=gap --timeout 2h

Starts from the seven variants and from finished runs in MLflow, trains nothing twice, and goes on
where it was when the command is repeated. A config flag such as --lr fixes a searched field, too.
At the end the winner is trained with fresh seeds, and only then are test accuracies shown.
"""

import argparse
import contextlib
import dataclasses
import re
import sys
from collections.abc import Iterator

from study import tracking
from study import winner
from study.cli import add_config_flags
from study.cli import add_trial_flags
from study.cli import config_from
from study.cli import Parser
from study.cli import run_command
from study.config import ConfigError
from study.config import StudyError
from study.data import data_digest
from study.data import has_groups
from study.launch import Worker
from study.options import Options
from study.pruning import PRUNERS
from study.samplers import converged
from study.samplers import make_sampler
from study.samplers import SAMPLERS
from study.samplers import STAGNATION
from study.search import Bounds
from study.search import Search
from study.space import make_space
from study.space import parse_fix
from study.space import Space
from study.study_storage import abandon
from study.study_storage import held
from study.study_storage import open_study

TRIALS = 40
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def run_search(space: Space, args: argparse.Namespace, bounds: Bounds, confirm: int) -> None:
    """Search, and confirm the winner.

    Raises:
        StudyError: the data or a server cannot be had, another process runs this search, or
            training fails again and again.
    """
    make_sampler(args.sampler, 0)
    if space.base.split == "grouped" and not has_groups(space.base.dataset):
        raise StudyError(
            f"no groups known for {space.base.dataset}: add --split pooled or --split official"
        )
    digest, client = data_digest(space.base.dataset), tracking.connect()
    metric = f"val_{args.objective}"
    name = space.name(metric, digest)
    with held(name), Worker() as worker:
        study = open_study(name, "minimize" if args.objective == "loss" else "maximize")
        # the same seed in each call would propose the same again
        study.sampler = make_sampler(args.sampler, space.base.seed + len(study.trials))
        search = Search(study, space, metric, digest, client, pruner=args.pruner)
        with tracking.parent_run(client, space.base.dataset, name, space.settings()) as parent:
            search.options = Options(not args.no_cache, args.log_model, parent=parent)
            _search(search, worker, bounds)
            _confirm(search, worker, confirm)


def _search(search: Search, worker: Worker, bounds: Bounds) -> None:
    starts = abandon(search.study) + search.space.starts()
    new = search.import_finished()
    say = search.progress.say
    earlier = f", {new} of them from earlier runs" * (new > 0)
    say(f"{search.study.study_name}: {len(search.ended())} trials ended already{earlier}")
    say(f"searched: {', '.join(search.space.free)}")
    with _summary(search):
        say(f"{search.run(worker, starts, bounds)}; {search.trained} trained by this call")


@contextlib.contextmanager
def _summary(search: Search) -> Iterator[None]:
    """Name the best config, however the search ends."""
    try:
        yield
    finally:
        best = search.best()
        if best is not None:
            config = search.space.config(best.params)
            search.progress.say(
                f"best of {len(search.ended())}: {search.metric} {best.value:.4f}, "
                f"{search.space.described(config)}, run {best.user_attrs['run_id']}"
            )


def _confirm(search: Search, worker: Worker, count: int) -> None:
    best = search.best()
    if best is None:
        raise StudyError("no trial finished: raise --trials, or use --pruner none")
    config = search.space.config(best.params)
    again = config.replace(seed=config.seed + count + 1)
    search.progress.say(f"on a fresh seed: {winner.command(again)}")
    outcomes = winner.confirm(worker, config, count, search.options)
    winner.report(outcomes, search.progress)


def parse_duration(text: str) -> float:
    """Seconds in `90`, `90s`, `30m`, `1.5h` or `2d`.

    Raises:
        ConfigError: not of that form, or not above 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if found is None or float(found[1]) == 0:
        raise ConfigError(f"timeout={text!r} is no time: write seconds, or 30m, or 2h")
    return float(found[1]) * SECONDS[found[2]]


def _count(name: str, text: str, low: int) -> int:
    if not (text.isdecimal() and low <= int(text) <= 100_000):
        raise ConfigError(f"{name}={text!r} is out of range: use {low} to 100000")
    return int(text)


def bounds_from(args: argparse.Namespace) -> Bounds:
    """The bounds that the flags name; `TRIALS` trials if they name none.

    Raises:
        ConfigError: a value is out of range.
    """
    seconds = None if args.timeout is None else parse_duration(args.timeout)
    trials = None if args.trials is None else _count("trials", args.trials, 1)
    if trials is None and seconds is None and not args.until_converged:
        trials = TRIALS
    bounds = Bounds(trials, seconds)
    return dataclasses.replace(bounds, converged=converged) if args.until_converged else bounds


def _parser() -> Parser:
    parser = Parser(__doc__ or "", "study.tpe")
    add = parser.add_argument
    add("--trials", metavar="N", help=f"trials in all, of all calls [default: {TRIALS}]")
    add("--timeout", metavar="T", help="start no trial after this time: 90 (seconds), 30m, 2h")
    add("--until-converged", action="store_true",
        help=f"end when the best has not changed for {STAGNATION} trials")  # fmt: skip
    add("--fix", action="append", default=[], metavar="NAME=X", help="do not search this field")
    add("--objective", choices=("accuracy", "loss"), default="accuracy", help="of validation")
    add("--sampler", choices=tuple(SAMPLERS), default="tpe", help="of Optuna [default: tpe]")
    add("--pruner", choices=tuple(PRUNERS), default="median", help="ends poor trials early")
    add("--confirm", metavar="K", default="3", help="fresh seeds for the winner [default: 3]")
    add_trial_flags(parser)
    add_config_flags(parser)
    return parser


def main() -> None:
    """The command."""
    args = _parser().parse_args()
    for name, value in parse_fix(args.fix).items():
        if getattr(args, name) not in (None, value):
            raise ConfigError(f"--fix {name}={value} contradicts the flag: leave one out")
        setattr(args, name, value)
    given = {spec for spec, value in vars(args).items() if value is not None}
    args.split = args.split or "grouped"
    base = config_from(args)
    bounds, confirm = bounds_from(args), _count("confirm", args.confirm, 0)
    run_search(make_space(base, given), args, bounds, confirm)


if __name__ == "__main__":
    sys.exit(run_command(main))
