"""Plan a study: the smallest difference that a number of seeds would find.

    python -m pipelines.power --dataset chest
    python -m pipelines.power --dataset chest --accuracy 0.95 --groups 150 --images 600

For 1, 2, 3, 5 and 10 seeds, it prints the smallest difference between a config and the baseline
that four of five studies would find. How much answers vary is estimated from the finished runs of
the data set in MLflow, or with --accuracy, --groups and --images from these assumptions. Nothing is
written.
"""

import argparse
import sys

from pipelines.compare.assumptions import Assumptions
from study.common.command import run_command
from study.common.errors import ConfigError
from study.common.parser import parse_count
from study.common.parser import parse_number
from study.common.parser import Parser
from study.config.dataset_names import resolve_dataset
from study.config.trial_config import recipe

LARGEST_COUNT = 10_000_000
ASSUMED = ("accuracy", "groups", "images")  # what has to be assumed where there are no runs
REFINED = ("correlation", "agreement")  # what may be assumed beside these


def main() -> None:
    """Parse the flags, and print a table for each protocol or for the assumptions."""
    args = _make_parser().parse_args()
    recipe(args.dataset)  # refuses an unknown name
    assumptions = _parse_assumptions(args)
    points = None if args.seed_sd is None else parse_number("seed_sd", args.seed_sd, 0, 50)
    # Late, because MLflow takes seconds to load: --help and bad flags do not need it
    from pipelines.compare.power_plan import assume_plan
    from pipelines.compare.power_plan import format_plans
    from pipelines.compare.power_plan import read_plans

    if assumptions is None:
        plans = read_plans(args.dataset, args.experiment, points)
    else:
        plans = [assume_plan(args.dataset, assumptions)]
    print(format_plans(plans))


def _make_parser() -> Parser:
    parser = Parser(__doc__ or "", "pipelines.power")
    add = parser.add_argument
    add(
        "--dataset",
        required=True,
        metavar="X",
        type=resolve_dataset,
        help="chest, blood, demo, or the path of a folder",
    )
    add("--experiment", metavar="NAME", help="read only this MLflow experiment [default: all]")
    group = parser.add_argument_group("assumptions, instead of finished runs")
    add = group.add_argument
    add("--accuracy", metavar="A", help="of both variants, between 0 and 1")
    add("--groups", metavar="N", help="test groups: patients, photographs, or single images")
    add("--images", metavar="N", help="test images")
    add("--correlation", metavar="R", help="between images of a group, 0 to 1 [default: 0.3]")
    add("--agreement", metavar="R", help="between two variants on an image [default: 0.5]")
    add("--seed-sd", metavar="P", help="points between seeds; also with runs [default: 0.7]")
    return parser


def _parse_assumptions(args: argparse.Namespace) -> Assumptions | None:
    """Return the assumptions that the flags state, or None if they state none."""
    given = [name for name in (*ASSUMED, *REFINED) if getattr(args, name) is not None]
    if not given:
        return None
    if missing := [f"--{name}" for name in ASSUMED if name not in given]:
        raise ConfigError(f"--{given[0]} needs {' and '.join(missing)}, too")
    accuracy = parse_number("accuracy", args.accuracy, 0.001, 0.999)
    groups = parse_count("groups", args.groups, LARGEST_COUNT, low=2)
    return Assumptions(
        accuracy,
        groups,
        images=parse_count("images", args.images, LARGEST_COUNT, low=groups),
        correlation=parse_number("correlation", args.correlation or "0.3", 0, 1),
        agreement=parse_number("agreement", args.agreement or "0.5", 0, 0.99),
        points=parse_number("seed_sd", args.seed_sd or "0.7", 0, 50),
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
