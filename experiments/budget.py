"""Count how often a third of a grid's compute finds what the full grid finds.

    python -m experiments.budget demo --folder curves --seeds 30
    DATA_DIR=../shared/data python -m experiments.budget chest --folder curves --weights FILE

Trains the seven variants once with each seed, and keeps the predictions of each epoch in the
folder. A seed that is there already is not trained again. Then ways to spend less compute are
replayed on these curves. Each repeat is a grid of `--repeat` seeds: first of consecutive seeds,
then of random ones.
"""

import argparse
import itertools
import sys
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from statsmodels.stats.multitest import multipletests

from experiments.budget_curves import Curves
from experiments.budget_curves import read_or_train
from experiments.budget_curves import SETTINGS
from study.common.command import run_command
from study.config.trial_config import recipe
from study.search import fast_budget
from study.search.grid_plan import Cell
from study.search.grid_plan import plan_variants
from study.search.grid_plan import Setting
from study.search.grid_plan import variant_setting
from study.statistics.counts import Counts
from study.statistics.intervals import Estimate
from study.statistics.intervals import estimate_difference
from study.variants import VARIANTS

ALL = [variant.number for variant in VARIANTS]
BASELINE = ALL[0]  # the variant that the others are compared with
FACTOR_SETTINGS = fast_budget.list_factors(plan_variants(recipe("chest")))
CHOICES = 60  # random choices of seeds to compare
PAIRS = 500  # random pairs of disjoint choices, to see whether both find the same best variant


class Result(NamedTuple):
    """The findings of one way of spending compute in one repeat."""

    best: int  # variant
    directions: Mapping[Setting, int]  # as `significant_directions` returns them
    epochs: int  # spent


Way = Callable[[Curves, Sequence[int], int], Result]  # of the curves, the seeds, and the epochs


def estimate_test_difference(
    curves: Curves, seeds: Sequence[int], one: int, other: int, epoch: int
) -> Estimate:
    """Estimate the test difference of two variants as the comparison table does."""
    names = np.unique(np.concatenate([curves[seed][one]["groups"] for seed in seeds]))
    counts = []
    for variant in (one, other):
        right = np.zeros((len(names), len(seeds)))
        tested = np.zeros((len(names), len(seeds)))
        for column, seed in enumerate(seeds):
            cell = curves[seed][variant]
            rows = np.searchsorted(names, cell["groups"])
            np.add.at(right[:, column], rows, cell["right"][epoch - 1])
            np.add.at(tested[:, column], rows, 1)
        counts.append(Counts(right, tested))
    return estimate_difference(*counts)


def find_test_directions(
    curves: Curves, seeds: Sequence[int], variants: Sequence[int], epoch: int
) -> dict[Setting, int]:
    """Return 1 for variants better than the baseline, -1 for worse, 0 for not significant.

    Significance is by Holm's p on the test images.
    """
    if not variants:
        return {}
    gains = [
        estimate_test_difference(curves, seeds, variant, BASELINE, epoch) for variant in variants
    ]
    p_values = multipletests([gain.p for gain in gains], method="holm")[1]
    return {
        variant_setting(variant): int(np.sign(gain.value)) if p < fast_budget.LEVEL else 0
        for variant, gain, p in zip(variants, gains, p_values, strict=True)
    }


def rank_variants(
    curves: Curves, seeds: Sequence[int], variants: Sequence[int], epoch: int
) -> list[int]:
    """Sort variants by their mean validation accuracy after an epoch, best first."""

    def compute_mean(variant: int) -> float:
        return float(np.mean([curves[seed][variant]["val"][epoch - 1] for seed in seeds]))

    return sorted(variants, key=compute_mean, reverse=True)


def replay_full(curves: Curves, seeds: Sequence[int], epochs: int) -> Result:
    """Replay the full grid."""
    directions = find_test_directions(curves, seeds, ALL[1:], epochs)
    best = rank_variants(curves, seeds, ALL, epochs)[0]
    return Result(best, directions, len(ALL) * epochs * len(seeds))


def replay_fast(curves: Curves, seeds: Sequence[int], epochs: int) -> Result:
    """Replay what `--budget fast` does."""
    until = fast_budget.fast_epochs(epochs)
    accuracies = {
        Cell(variant_setting(variant), seed): curves[seed][variant]["val"][until - 1]
        for variant in ALL
        for seed in seeds
    }
    directions = fast_budget.significant_directions(accuracies, variant_setting(BASELINE))
    best = rank_variants(curves, seeds, ALL, until)[0]
    return Result(best, directions, len(ALL) * until * len(seeds))


def replay_few_seeds(curves: Curves, seeds: Sequence[int], epochs: int) -> Result:
    """Replay the full grid with a third of the seeds."""
    return replay_full(curves, seeds[: max(1, len(seeds) // 3)], epochs)


def make_halving(rungs: Sequence[tuple[float, int]], last_seeds: int | None) -> Way:
    """Return a way that drops variants early, by their first seed.

    Args:
        rungs: the share of the epochs after which variants are dropped, and how many go on besides
            the baseline.
        last_seeds: with how many seeds the remaining variants train to the end, or None for all.
    """

    def replay_halving(curves: Curves, seeds: Sequence[int], epochs: int) -> Result:
        remaining = ALL
        spent: dict[tuple[int, int], int] = {}  # epochs by variant and seed
        for share, keep in rungs:
            epoch = max(1, int(share * epochs))
            spent |= {(variant, seeds[0]): epoch for variant in remaining}
            others = [variant for variant in remaining if variant != BASELINE]
            best_others = rank_variants(curves, seeds[:1], others, epoch)[:keep]
            remaining = [BASELINE, *best_others]
        final_seeds = seeds[:last_seeds]
        spent |= {(variant, seed): epochs for variant in remaining for seed in final_seeds}
        directions = find_test_directions(curves, final_seeds, remaining[1:], epochs)
        best = rank_variants(curves, final_seeds, remaining, epochs)[0]
        return Result(best, directions, sum(spent.values()))

    return replay_halving


WAYS: dict[str, Way] = {
    "a third of the epochs, all seeds": replay_fast,
    "all epochs, a third of the seeds": replay_few_seeds,
    "halving: 1/3 keeps 3, 2/3 keeps 1, 2 seeds": make_halving([(1 / 3, 3), (2 / 3, 1)], 2),
    "halving: 1/2 keeps 1, 2 seeds": make_halving([(1 / 2, 1)], 2),
    "halving: 1/5 keeps 1, all seeds": make_halving([(1 / 5, 1)], None),
}


def print_comparison(curves: Curves, repeats: Sequence[Sequence[int]], epochs: int) -> None:
    """Print how often each way agrees with the full grid over the repeats."""
    full_results = [replay_full(curves, seeds, epochs) for seeds in repeats]
    silent = np.mean([not any(full.directions.values()) for full in full_results])
    print(f"{len(repeats)} repeats; in {silent:.0%}, no variant differs from the baseline")
    print(f"{'':44}{'same':>6}{'or tied':>9}{'verdicts':>20}{'all 3':>7}{'compute':>9}")
    for name, way in WAYS.items():
        results = [way(curves, seeds, epochs) for seeds in repeats]
        same = [
            result.best == full.best for result, full in zip(results, full_results, strict=True)
        ]
        tied = [
            are_tied(curves, seeds, result.best, full.best, epochs)
            for seeds, result, full in zip(repeats, results, full_results, strict=True)
        ]
        verdicts, all_alike = compare_verdicts(results, full_results)
        compute = np.mean(
            [
                result.epochs / full.epochs
                for result, full in zip(results, full_results, strict=True)
            ]
        )
        print(
            f"{name:44}{np.mean(same):6.0%}{np.mean(tied):9.0%}{verdicts:>20}{all_alike:7.0%}"
            f"{compute:9.3f}"
        )


def are_tied(curves: Curves, seeds: Sequence[int], one: int, other: int, epoch: int) -> bool:
    """Return whether two variants are equal, or do not differ significantly on test images."""
    if one == other:
        return True
    return estimate_test_difference(curves, seeds, one, other, epoch).p >= fast_budget.LEVEL


def compare_verdicts(
    results: Sequence[Result], full_results: Sequence[Result]
) -> tuple[str, float]:
    """Compare the verdicts on the factors with those of the full grids.

    Returns:
        The share of equal verdicts on each factor, as text, and the share of results whose
        verdicts are all equal.
    """
    pairs = [
        (
            fast_budget.describe_factors(result.directions, FACTOR_SETTINGS),
            fast_budget.describe_factors(full.directions, FACTOR_SETTINGS),
        )
        for result, full in zip(results, full_results, strict=True)
    ]
    shares = [
        np.mean([verdicts[factor] == full_verdicts[factor] for verdicts, full_verdicts in pairs])
        for factor in FACTOR_SETTINGS
    ]
    all_alike = float(np.mean([verdicts == full_verdicts for verdicts, full_verdicts in pairs]))
    return " ".join(f"{share:.0%}" for share in shares), all_alike


def print_repeatability(curves: Curves, choices: Sequence[Sequence[int]], epochs: int) -> None:
    """Print how often the full grid itself chooses the same best variant again."""
    shorter = epochs - max(1, epochs // 9)
    same = [
        rank_variants(curves, seeds, ALL, shorter)[0]
        == rank_variants(curves, seeds, ALL, epochs)[0]
        for seeds in choices
    ]
    print(f"same best after {shorter} of {epochs} epochs: {np.mean(same):.0%} of {len(choices)}")
    rng = np.random.default_rng(0)
    size = len(choices[0])
    repeated = []
    for _ in range(PAIRS):
        seeds = rng.permutation(sorted(curves)).tolist()
        first_best = rank_variants(curves, seeds[:size], ALL, epochs)[0]
        second_best = rank_variants(curves, seeds[size : 2 * size], ALL, epochs)[0]
        repeated.append(first_best == second_best)
    print(f"same best with {size} other seeds, all epochs: {np.mean(repeated):.0%}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("setting", choices=tuple(SETTINGS))
    add("--folder", type=Path, required=True, help="where the curves are kept")
    add("--seeds", type=int, default=30, help="[default: 30]")
    add("--repeat", type=int, default=3, help="seeds of a grid [default: 3]")
    add("--weights", help="of MobileNet, alpha 0.25: none or FILE")
    args = parser.parse_args()
    curves = read_or_train(args.setting, args.weights, args.folder, args.seeds)
    size = args.repeat
    seeds = sorted(curves)
    epochs = len(curves[0][1]["val"])
    in_a_row = [seeds[i : i + size] for i in range(0, len(seeds) - size + 1, size)]
    print_comparison(curves, in_a_row, epochs)
    choices = list(itertools.combinations(seeds, size))
    print_repeatability(curves, choices, epochs)
    numbers = np.random.default_rng(0).permutation(len(choices))[:CHOICES]
    print_comparison(curves, [choices[number] for number in numbers], epochs)


if __name__ == "__main__":
    sys.exit(run_command(main))
