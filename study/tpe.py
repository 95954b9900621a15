"""Search beyond the seven variants with Optuna, judging by validation alone.

    python -m study.tpe --dataset chest --trials 40
    python -m study.tpe --dataset demo --fix lr=1e-3 --fix head=gap --timeout 2h

The search starts from the seven variants and from finished runs in MLflow, and trains nothing
twice. Repeating the command continues where it stopped. A config flag such as --lr fixes a searched
field, as --fix does. At the end the best config is trained with fresh seeds, and only then are test
accuracies shown.
"""

import argparse
import contextlib
import dataclasses
import re
import sys
import time
from collections.abc import Iterator
from collections.abc import Sequence

from optuna.samplers import BaseSampler

from study.common.command import parse_count
from study.common.command import Parser
from study.common.command import run_command
from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.config.trial_config import parse_value
from study.config.trial_config import TrialConfig
from study.data.prepare import data_digest
from study.data.prepare import has_groups
from study.flags import add_config_flags
from study.flags import add_trial_flags
from study.flags import check_register_flags
from study.flags import config_from_flags
from study.job import Options
from study.job import Outcome
from study.search import confirm
from study.search import summary
from study.search.claims import Claims
from study.search.grid_plan import parent_run_title
from study.search.import_finished import import_finished
from study.search.pruning import PRUNERS
from study.search.samplers import converged
from study.search.samplers import make_sampler
from study.search.samplers import SAMPLERS
from study.search.samplers import STAGNATION
from study.search.search_scheduler import Bounds
from study.search.search_scheduler import Search
from study.search.space import make_space
from study.search.space import parse_fix
from study.search.space import Space
from study.search.storage import Storage
from study.search.study_run import open_study_run
from study.tracking import connection
from study.tracking.parent_run import StudySpec
from study.workers.flags import add_engine_flags
from study.workers.flags import open_workers
from study.workers.pool import run_workers
from study.workers.pool import Worker

TRIALS = 40
MAX_COUNT = 100_000  # trials, seeds
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """The length of a search, and its numbers of seeds."""

    bounds: Bounds
    seeds: int  # for each config, at most
    confirm: int  # fresh seeds for the best config
    register: bool = False  # register the best model of these fresh seeds


def run_search(
    space: Space, args: argparse.Namespace, plan: SearchPlan, workers: Sequence[Worker]
) -> None:
    """Search, and train the best config with fresh seeds.

    Raises:
        StudyError: the data or a server is not available, another process runs this search,
            training fails again and again, or the win did not repeat.
    """
    make_sampler(args.sampler, 0)  # raises at once if a package that it needs is missing
    if space.base.split == "grouped" and not has_groups(space.base.dataset):
        raise StudyError(
            f"no groups known for {space.base.dataset}: add --split pooled or --split official"
        )
    digest = data_digest(space.base.dataset, space.base.split)
    client = connection.connect()
    metric = f"val_{args.objective}"
    seed_words = [f"{plan.seeds} seeds"] if plan.seeds > 1 else []
    storage = Storage(space.name(metric, digest, *seed_words))
    with storage.held():
        claims = Claims(storage, "minimize" if args.objective == "loss" else "maximize")
        claims.study.sampler = _make_seeded_sampler(args.sampler, space.base.seed, claims)
        search = Search(claims, space, metric, digest, client, plan.bounds, args.pruner, plan.seeds)
        confirmed, doubts = _search_under_parent(search, args, plan, workers)
    if plan.register:
        if doubts and not args.force:
            raise StudyError(
                "no model is registered, because the win did not repeat; --force registers it all "
                "the same"
            )
        confirm.register_best(confirmed, client, search.progress, name=args.name)


def _search_under_parent(
    search: Search, args: argparse.Namespace, plan: SearchPlan, workers: Sequence[Worker]
) -> tuple[dict[TrialConfig, Outcome], list[str]]:
    """Search and confirm below the search's parent run.

    Returns:
        The outcomes of the best config's fresh seeds, by config, and why its win did not repeat.
    """
    base = search.space.base
    title = parent_run_title("search", base)
    name = search.claims.storage.name
    spec = StudySpec(base.dataset, name, title, search.space.settings())
    confirmed: dict[TrialConfig, Outcome] = {}
    doubts: list[str] = []
    with open_study_run(search.claims, search.client, spec) as study_run:
        search.options = Options(
            use_cache=not args.no_cache,
            log_model=args.log_model,
            wait_for_lock=True,
            plain_progress=len(workers) > 1,
            parent=study_run.id,
        )
        try:
            _train_trials(search, workers)
            log_model = args.log_model or plan.register
            confirmed = confirm.confirm_best(search, workers, plan.confirm, log_model=log_model)
            doubts = confirm.find_doubts(search, confirmed)
        finally:
            study_run.write(summary.summarize_search(search, confirmed, doubts, study_run.run))
    for doubt in doubts:
        search.progress.say(f"the win did not repeat: {doubt}")
    return confirmed, doubts


def _make_seeded_sampler(kind: str, seed: int, claims: Claims) -> BaseSampler:
    # With the same seed, a repeated call would propose the same configs again: the number of
    # trials is added. Two calls at the same time would still agree: then the seed is random.
    is_alone = not claims.running_fingerprints()
    return make_sampler(kind, seed + len(claims.study.trials) if is_alone else None)


def _train_trials(search: Search, workers: Sequence[Worker]) -> None:
    search.starts = search.space.starts()
    imported = import_finished(search)
    say = search.progress.say
    origin = f", {imported} of them from earlier runs" if imported > 0 else ""
    ended = len(search.claims.finished_by_fingerprint())
    say(f"{search.claims.storage.name}: {ended} trials ended already{origin}")
    say(f"searched: {', '.join(search.space.free)}")
    search.started_at = time.monotonic()
    with _print_best_at_end(search):
        run_workers(workers, search.step)
        say(f"{search.end}; {search.trained} trained by this call")


@contextlib.contextmanager
def _print_best_at_end(search: Search) -> Iterator[None]:
    """Print the best config at the end of the block, even if it raises an error."""
    try:
        yield
    finally:
        best = search.best()
        if best is not None:
            config = search.space.config(best.params)
            ended = len(search.claims.finished_by_fingerprint())
            search.progress.say(
                f"best of {ended}: {search.metric} {best.value:.4f}, "
                f"{search.space.describe(config)}, run {best.user_attrs['run_ids'][0]}"
            )


def parse_duration(text: str) -> float:
    """Return the seconds in `90`, `90s`, `30m`, `1.5h` or `2d`.

    Raises:
        ConfigError: the text is not of that form, or not above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if match is None or float(match[1]) == 0:
        raise ConfigError(f"timeout={text!r} is not a time: use seconds, or 30m, or 2h")
    return float(match[1]) * SECONDS[match[2]]


def parse_bounds(args: argparse.Namespace) -> Bounds:
    """Return the bounds that the flags name, or `TRIALS` trials if they name none.

    Raises:
        ConfigError: a value is out of range.
    """
    seconds = None if args.timeout is None else parse_duration(args.timeout)
    trials = None if args.trials is None else parse_count("trials", args.trials, MAX_COUNT)
    if trials is None and seconds is None and not args.until_converged:
        trials = TRIALS
    bounds = Bounds(trials, seconds)
    return dataclasses.replace(bounds, converged=converged) if args.until_converged else bounds


def _make_parser() -> Parser:
    parser = Parser(__doc__ or "", "study.tpe")
    add = parser.add_argument
    add("--trials", metavar="N", help=f"trials in all, of all calls [default: {TRIALS}]")
    add("--timeout", metavar="T", help="start no trial after this time: 90 (seconds), 30m, 2h")
    add(
        "--until-converged",
        action="store_true",
        help=f"end when the best has not changed for {STAGNATION} trials",
    )
    add("--fix", action="append", default=[], metavar="NAME=X", help="do not search this field")
    add(
        "--objective",
        choices=("accuracy", "balanced_accuracy", "auc", "loss"),
        default="accuracy",
        help="validation figure to judge by [default: accuracy]",
    )
    add("--sampler", choices=tuple(SAMPLERS), default="tpe", help="Optuna's sampler [default: tpe]")
    add("--pruner", choices=tuple(PRUNERS), default="median", help="ends poor trials early")
    add(
        "--seeds",
        metavar="K",
        default="1",
        help="judge a config by up to K seeds; one that is clearly worse gets no more [default: 1]",
    )
    add("--confirm", metavar="K", default="3", help="fresh seeds for the winner [default: 3]")
    add_engine_flags(parser)
    add_trial_flags(parser)
    add_config_flags(parser)
    return parser


def main() -> None:
    """Run the command."""
    args = _make_parser().parse_args()
    check_register_flags(args)
    for name, value in parse_fix(args.fix).items():
        text = getattr(args, name)
        if text is not None and parse_value(name, text) != parse_value(name, value):
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"--fix {name}={value} contradicts {flag}: leave one of them out")
        setattr(args, name, value)
    # the fields that flags fix, noted before the default split is filled in
    flags_on_line = {name for name, value in vars(args).items() if value is not None}
    args.split = args.split or "grouped"
    base = config_from_flags(args)
    plan = SearchPlan(
        parse_bounds(args),
        parse_count("seeds", args.seeds, MAX_COUNT),
        parse_count("confirm", args.confirm, MAX_COUNT, low=0),
        args.register,
    )
    if plan.register and plan.confirm == 0:
        raise ConfigError("--register registers a run with a fresh seed: use --confirm 1 or more")
    with open_workers(args) as workers:
        run_search(make_space(base, flags_on_line), args, plan, workers)


if __name__ == "__main__":
    sys.exit(run_command(main))
