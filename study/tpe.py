"""Search beyond the seven variants with Optuna, judging by validation alone.

    python -m study.tpe --dataset chest --trials 40
    python -m study.tpe --dataset demo --fix lr=1e-3 --fix head=gap --timeout 2h

The search starts from the seven variants and from finished runs in MLflow, and trains nothing
twice. Repeating the command continues where it stopped. A config flag such as --lr fixes a searched
field, as --fix does. At the end the best config and variant 1 are trained with fresh seeds, and
only then are test accuracies shown.
"""

import argparse
import re
import sys
from collections.abc import Collection

from study.common.command import run_command
from study.common.errors import ConfigError
from study.common.parser import parse_count
from study.common.parser import Parser
from study.config.trial_config import parse_value
from study.flags import add_config_flags
from study.flags import add_trial_flags
from study.flags import check_register_flags
from study.flags import config_from_flags
from study.search.search_plan import Bounds
from study.search.search_plan import PRUNER_NAMES
from study.search.search_plan import SAMPLER_NAMES
from study.search.search_plan import SEARCHED_FIELDS
from study.search.search_plan import SearchPlan
from study.search.search_plan import STAGNATION
from study.workers.flags import add_engine_flags
from study.workers.flags import open_workers

TRIALS = 40
MAX_COUNT = 100_000  # trials, seeds
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


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
    return Bounds(trials, seconds, args.until_converged)


def parse_fix(texts: Collection[str]) -> dict[str, str]:
    """Return the names and checked texts of `["lr=1e-5"]`.

    Raises:
        ConfigError: not of that form, the field is not searched, or a value is not of its type.
    """
    fixed: dict[str, str] = {}
    for name, value in map(_split_pair, texts):
        if name not in SEARCHED_FIELDS:
            raise ConfigError(
                f"--fix {name}: not a searched field; these are: {', '.join(SEARCHED_FIELDS)}"
            )
        if parse_value(name, fixed.setdefault(name, value)) != parse_value(name, value):
            raise ConfigError(f"--fix {name}={value} contradicts --fix {name}={fixed[name]}")
    return fixed


def _split_pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--fix {text}: write it as name=value, such as --fix lr=1e-5")
    return name.strip().replace("-", "_"), value.strip()


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
    add("--sampler", choices=SAMPLER_NAMES, default="tpe", help="Optuna's sampler [default: tpe]")
    add(
        "--pruner",
        choices=PRUNER_NAMES,
        default="median",
        help="ends poor trials early [default: median]",
    )
    add(
        "--seeds",
        metavar="K",
        default="1",
        help="judge a config by up to K seeds; one that is clearly worse gets no more [default: 1]",
    )
    add(
        "--confirm",
        metavar="K",
        default="3",
        help="fresh seeds for the best config and for variant 1 [default: 3]",
    )
    add_engine_flags(parser)
    add_trial_flags(parser)
    add_config_flags(parser)
    return parser


def _make_plan(args: argparse.Namespace) -> SearchPlan:
    plan = SearchPlan(
        bounds=parse_bounds(args),
        objective=args.objective,
        sampler=args.sampler,
        pruner=args.pruner,
        seeds=parse_count("seeds", args.seeds, MAX_COUNT),
        confirm=parse_count("confirm", args.confirm, MAX_COUNT, low=0),
        use_cache=not args.no_cache,
        log_model=args.log_model,
        register=args.register,
        force=args.force,
        model_name=args.name,
    )
    if plan.register and plan.confirm == 0:
        raise ConfigError("--register registers a run with a fresh seed: use --confirm 1 or more")
    return plan


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
    plan = _make_plan(args)
    with open_workers(args) as workers:
        # Late, because MLflow and Optuna take seconds to load: --help and bad flags need neither
        from study.search.run_search import run_search
        from study.search.space import make_space

        run_search(make_space(base, flags_on_line), plan, workers)


if __name__ == "__main__":
    sys.exit(run_command(main))
