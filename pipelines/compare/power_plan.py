"""Tabulate the smallest difference that a number of seeds would find."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.compare.assumptions import Assumptions
from pipelines.compare.block_builder import build_blocks
from pipelines.compare.blocks import Block
from pipelines.compare.power_sentence import describe_study
from pipelines.compare.power_sentence import GROUP_NOUNS
from pipelines.runs.finished_run import NoRunsError
from pipelines.runs.predictions import read_predictions
from pipelines.runs.read_runs import read_runs
from pipelines.runs.sweeps import read_sweeps
from pipelines.runs.table_runs import select_table_runs
from study.common.errors import StudyError
from study.common.words import pluralize
from study.statistics.difference_variance import assume_seeds
from study.statistics.difference_variance import assume_variance
from study.statistics.difference_variance import average_variances
from study.statistics.difference_variance import DifferenceVariance
from study.statistics.intervals import SIGNIFICANCE_LEVEL
from study.statistics.power import find_smallest_difference
from study.variants import VARIANTS

SEEDS = (1, 2, 3, 5, 10)
COMPARISONS = len(VARIANTS) - 1  # of a grid: each other variant with the baseline
HINT = "state assumptions, such as --accuracy 0.95 --groups 150 --images 600"
EXPLANATION = (
    '"Found" means p < 0.05 in four of five studies, after Holm\'s adjustment.\n'
    "One seed compares two trainings, and does not show how others would end. From two seeds on,\n"
    "the difference is one between configs, whatever the seed. Two or three seeds hardly show how\n"
    "much the seed matters, so they find only what is large."
)


@dataclass(frozen=True)
class Plan:
    """The basis of a table: a title, and the variance of a study with one seed."""

    title: str
    variance: DifferenceVariance
    has_seeds: bool  # whether the variance between seeds is known
    comparisons: int = COMPARISONS  # for which Holm's method adjusts


def assume_plan(dataset: str, assumed: Assumptions) -> Plan:
    """Make a plan from assumptions about a data set."""
    noun = _name_group(dataset)
    title = (
        f"Assumed: accuracy {assumed.accuracy:g}, {assumed.images} test images of "
        f"{pluralize(assumed.groups, noun)},\n"
        f"correlation {assumed.correlation:g} between images of one {noun},\n"
        f"agreement {assumed.agreement:g} between variants,\n"
        f"and a standard deviation of {assumed.points:g} points between seeds"
    )
    variance = assume_variance(
        assumed.accuracy,
        assumed.images,
        assumed.groups,
        assumed.correlation,
        assumed.agreement,
    )
    return Plan(title, assume_seeds(variance, assumed.points / 100), has_seeds=True)


def read_plans(dataset: str, experiment: str | None, points: float | None) -> list[Plan]:
    """Make a plan for each table of the finished runs of a data set.

    Args:
        dataset: `chest`, `blood`, `demo`, or `folder:PATH`.
        experiment: the only one to read, or None for all.
        points: the standard deviation between seeds to assume, or None for that of the runs.

    Raises:
        StudyError: there are no runs, or none can be compared with the baseline.
    """
    try:
        runs = read_runs(dataset, experiment)
        sweeps = read_sweeps(runs, experiment)
        runs = select_table_runs(runs, sweeps)
    except NoRunsError as error:
        raise StudyError(f"{str(error).splitlines()[0]}; {HINT}") from error
    blocks = build_blocks(runs, read_predictions(runs).counts, sweeps)
    noun = _name_group(dataset)
    plans = [plan for block in blocks if (plan := _estimate(block, points, noun))]
    if not plans:
        raise StudyError(f"no run of {dataset} can be compared with the baseline; {HINT}")
    return plans


def _estimate(block: Block, points: float | None, noun: str) -> Plan | None:
    """Make a plan from the variants, or the configs of a sweep, that a block compares.

    `points` is the standard deviation between seeds to assume, if any.
    """
    compared_rows = [
        row for row in block.rows if (row.variant or row.cell) and row.verdict.variance
    ]
    variances = [row.verdict.variance for row in compared_rows if row.verdict.variance]
    if not variances:
        return None
    if not all(row.verdict.grouped for row in compared_rows):
        noun = "test image"
    variance = average_variances(variances)
    seeds = max(variance.seed_count for variance in variances)
    comparisons = block.comparisons if block.sweep else COMPARISONS
    title = (
        f"{block.title}\nfrom {pluralize(len(variances), 'comparison')} with the baseline, "
        f"averaged, on {describe_study(variance.group_count, seeds, noun)}"
    )
    if points is None:
        return Plan(title, variance, has_seeds=seeds > 1, comparisons=comparisons)
    title += f",\nand an assumed standard deviation of {points:g} points between seeds"
    assumed = assume_seeds(variance, points / 100)
    return Plan(title, assumed, has_seeds=True, comparisons=comparisons)


def _name_group(dataset: str) -> str:
    return GROUP_NOUNS.get(dataset, "group")


def format_plans(plans: Sequence[Plan]) -> str:
    """Format a table for each plan, and say what they mean."""
    return "\n\n".join([*map(_format_plan, plans), EXPLANATION])


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
