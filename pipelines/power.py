"""Plan a study: the smallest difference that a number of seeds would find.

    python -m pipelines.power --dataset chest
    python -m pipelines.power --dataset chest --accuracy 0.95 --groups 150 --images 600

For 1, 2, 3, 5 and 10 seeds, it prints the smallest difference between a config and the baseline
that four of five studies would find. How much answers vary is estimated from the finished runs of
the data set in MLflow, or with --accuracy, --groups and --images from these assumptions. Nothing is
written.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.compare.block_builder import build_blocks
from pipelines.compare.blocks import Block
from pipelines.compare.power_sentence import describe_study
from pipelines.compare.power_sentence import GROUP_NOUNS
from pipelines.export import select_table_runs
from pipelines.runs.finished import NoRunsError
from pipelines.runs.finished import read_runs
from pipelines.runs.predictions import read_predictions
from pipelines.runs.protocol import pluralize
from pipelines.runs.sweeps import read_sweeps
from study.common.command import parse_count
from study.common.command import parse_number
from study.common.command import Parser
from study.common.command import run_command
from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.config.trial_config import recipe
from study.flags import resolve_dataset
from study.statistics.difference_variance import assume_seeds
from study.statistics.difference_variance import assume_variance
from study.statistics.difference_variance import average_variances
from study.statistics.difference_variance import DifferenceVariance
from study.statistics.intervals import SIGNIFICANCE_LEVEL
from study.statistics.power import find_smallest_difference
from study.variants import VARIANTS

SEEDS = (1, 2, 3, 5, 10)
COMPARISONS = len(VARIANTS) - 1  # of a grid: each other variant with the baseline
LARGEST_COUNT = 10_000_000
ASSUMED = ("accuracy", "groups", "images")  # what has to be assumed where there are no runs
REFINED = ("correlation", "agreement")  # what may be assumed beside these
HINT = "state assumptions, such as --accuracy 0.95 --groups 150 --images 600"
EXPLANATION = (
    "Found means p < 0.05 in four of five studies, after Holm's adjustment.\n"
    "One seed compares two trainings, and does not show how others would end. From two seeds on,\n"
    "the difference is one between configs, whatever the seed. Two or three seeds hardly show how\n"
    "much the seed matters, so they find only what is large."
)


@dataclass(frozen=True)
class Plan:
    """What a table is based on: a title, and the variance of a study with one seed."""

    title: str
    variance: DifferenceVariance
    has_seeds: bool  # whether the variance between seeds is known
    comparisons: int = COMPARISONS  # for which Holm's method adjusts


def main() -> None:
    """Parse the flags, and print a table for each protocol or for the assumptions."""
    args = _make_parser().parse_args()
    recipe(args.dataset)  # refuses an unknown name
    noun = GROUP_NOUNS.get(args.dataset, "group")
    given = [name for name in (*ASSUMED, *REFINED) if getattr(args, name) is not None]
    plans = [_assume(args, given, noun)] if given else _read_plans(args, noun)
    print("\n\n".join([*map(_format_plan, plans), EXPLANATION]))


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


def _assume(args: argparse.Namespace, given: Sequence[str], noun: str) -> Plan:
    """Make a plan from the assumptions that the flags state."""
    if missing := [f"--{name}" for name in ASSUMED if name not in given]:
        raise ConfigError(f"--{given[0]} needs {' and '.join(missing)} beside it")
    accuracy = parse_number("accuracy", args.accuracy, 0.001, 0.999)
    groups = parse_count("groups", args.groups, LARGEST_COUNT, low=2)
    images = parse_count("images", args.images, LARGEST_COUNT, low=groups)
    correlation = parse_number("correlation", args.correlation or "0.3", 0, 1)
    agreement = parse_number("agreement", args.agreement or "0.5", 0, 0.99)
    points = parse_number("seed_sd", args.seed_sd or "0.7", 0, 50)
    title = (
        f"Assumed: accuracy {accuracy:g}, {images} test images of {pluralize(groups, noun)},\n"
        f"correlation {correlation:g} between images of one {noun},\n"
        f"agreement {agreement:g} between variants,\n"
        f"and a standard deviation of {points:g} points between seeds"
    )
    variance = assume_variance(accuracy, images, groups, correlation, agreement)
    return Plan(title, assume_seeds(variance, points / 100), has_seeds=True)


def _read_plans(args: argparse.Namespace, noun: str) -> list[Plan]:
    """Make a plan for each table of the finished runs.

    Raises:
        StudyError: there are no runs, or none can be compared with the baseline.
    """
    points = None if args.seed_sd is None else parse_number("seed_sd", args.seed_sd, 0, 50)
    try:
        runs = read_runs(args.dataset, args.experiment)
        sweeps = read_sweeps(runs)
        runs = select_table_runs(runs, sweeps)
    except NoRunsError as error:
        raise StudyError(f"{str(error).splitlines()[0]}; {HINT}") from error
    blocks = build_blocks(runs, read_predictions(runs).counts, sweeps)
    plans = [plan for block in blocks if (plan := _estimate(block, points, noun))]
    if not plans:
        raise StudyError(f"no run of {args.dataset} can be compared with the baseline; {HINT}")
    return plans


def _estimate(block: Block, points: float | None, noun: str) -> Plan | None:
    """Make a plan from the variants, or the configs of a sweep, that a block compares.

    `points` is the standard deviation between seeds to assume, if any.
    """
    rows = [row for row in block.rows if row.variant or row.cell]
    variances = [row.verdict.variance for row in rows if row.verdict.variance]
    if not variances:
        return None
    variance = average_variances(variances)
    seeds = max(variance.seed_count for variance in variances)
    comparisons = block.comparisons if block.sweep else COMPARISONS
    title = (
        f"{block.protocol}\nfrom {pluralize(len(variances), 'comparison')} with the baseline, "
        f"averaged, on {describe_study(variance.group_count, seeds, noun)}"
    )
    if points is None:
        return Plan(title, variance, has_seeds=seeds > 1, comparisons=comparisons)
    title += f",\nand an assumed standard deviation of {points:g} points between seeds"
    assumed = assume_seeds(variance, points / 100)
    return Plan(title, assumed, has_seeds=True, comparisons=comparisons)


def _format_plan(plan: Plan) -> str:
    counts = SEEDS if plan.has_seeds else SEEDS[:1]
    rows = [f"{count:>5}  {_format_smallest(plan, count)}" for count in counts]
    adjusted = f"Adjusted for {pluralize(plan.comparisons, 'comparison')}."
    lines = [plan.title, adjusted, "", "Seeds  Smallest difference found", *rows]
    if not plan.has_seeds:
        lines.append("More seeds: unknown from runs of one seed; assume, say, --seed-sd 0.7")
    return "\n".join(lines)


def _format_smallest(plan: Plan, seeds: int) -> str:
    level = SIGNIFICANCE_LEVEL / plan.comparisons
    smallest = find_smallest_difference(plan.variance.with_seeds(seeds), level)
    if math.isinf(smallest):
        return "no difference would be found, however large"
    text = f"{100 * smallest:.1f} points"
    return f"{text}, between two trainings only" if seeds == 1 else text


if __name__ == "__main__":
    sys.exit(run_command(main))
