"""Measure the coverage of the intervals, and the level of the paired test, on simulated studies.

    python -m experiments.intervals              # all cases, about an hour
    python -m experiments.intervals --short      # a tenth of the studies, every third case
    python -m experiments.intervals --studies 2000 --seed 1 --groups "10 groups of 5"
    python -m experiments.intervals --groups "seeds that differ"   # half a minute

Simulates studies whose true accuracy is known (`tests/support/simulated.py`), and counts how often
an interval contains it, how often it lies below or above, and how wide it is in the median. Then
counts how often the paired test finds a difference between equal configs (a false alarm), and
between configs that differ. A share of 95 % has a standard error of 1.3 points, and of 4 points
with `--short`.
"""

import argparse
import itertools
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from study.statistics.intervals import estimate_accuracy
from study.statistics.intervals import estimate_difference
from tests.support.simulated import BLOOD
from tests.support.simulated import CorrelatedStudy
from tests.support.simulated import Study

STUDIES = 300
GAIN = 1.0  # on the logit scale: from 84 % to 92 % of blood's test images
PATIENTS = np.minimum(np.random.default_rng(0).geometric(0.6, 700), 30)
SIZES = {
    "10 groups of 5": np.full(10, 5),
    "10 groups of 1 to 41": np.array([1, 2, 3, 4, 6, 9, 13, 19, 28, 41]),
    "12 groups of 10": np.full(12, 10),
    "30 groups of 1 to 62": np.round(np.geomspace(1, 62, 30)).astype(int),
    "blood's 71 originals": BLOOD,
    "700 patients of 1 to 30": PATIENTS,
    "1,000 groups of 2": np.full(1000, 2),
}
ACCURACIES = (0.5, 0.7, 0.84, 0.9, 0.95, 0.99, 0.995)
CORRELATIONS = (0.02, 0.1, 0.5, 0.9, 0.95)
# Seeds, and how much of its answers each training has for itself
TRAININGS = ((1, 0.0), (2, 0.1), (5, 0.1), (10, 0.1), (5, 1.0))
SINGLE_IMAGES = np.ones(1168, dtype=int)
SEEDS_DIFFER = "seeds that differ"  # chooses the studies below by --groups
# By the standard deviation of accuracy between seeds
SEED_EFFECTS = {
    "1,168 single images, seeds alike": Study(SINGLE_IMAGES, seed=0.0),
    "1,168 single images, SD 2 points": Study(SINGLE_IMAGES, seed=0.17),
    "1,168 single images, SD 4.5 points": Study(SINGLE_IMAGES, seed=0.38),
    "1,168 single images, 98 % right, SD 1 point": Study(SINGLE_IMAGES, mean=4.5, seed=0.5),
    "blood's originals, SD 3.5 points": Study(BLOOD, seed=0.3),
}
SEED_NUMBERS = (2, 3, 5, 10)
PAIRED_STUDIES = {
    "blood's originals, 1 seed": Study(BLOOD),
    "blood's originals, 2 seeds": Study(BLOOD, seeds=2),
    "blood's originals, 5 seeds": Study(BLOOD, seeds=5),
    "blood's originals, strong groups, 1 seed": Study(BLOOD, mean=6.0, group=6.0),
    "blood's originals, strong groups, 5 seeds": Study(BLOOD, mean=6.0, group=6.0, seeds=5),
    "2 seeds, a test set each": Study(np.tile(BLOOD, 3), seeds=2, shared=False),
    "5 seeds, a test set each": Study(np.tile(BLOOD, 3), seeds=5, shared=False),
    "700 patients, 1 seed": Study(PATIENTS, mean=3.0),
    "700 patients, 5 seeds": Study(PATIENTS, mean=3.0, seeds=5),
    "1,168 single images, 1 seed": Study(SINGLE_IMAGES, mean=3.0),
}


def list_cases() -> Iterator[tuple[str, CorrelatedStudy]]:
    """List the studies of the first table, each with the name of its groups.

    Studies with several seeds have only some of the accuracies and correlations.
    """
    for (name, sizes), (seeds, own) in itertools.product(SIZES.items(), TRAININGS):
        accuracies = ACCURACIES if seeds == 1 else (0.84, 0.95, 0.99, 0.995)
        correlations = (0.02, 0.5, 0.95) if seeds in (2, 10) else CORRELATIONS
        for correlation, accuracy in itertools.product(correlations, accuracies):
            yield name, CorrelatedStudy(sizes, accuracy, correlation, seeds, own)


def measure_coverage(
    study: CorrelatedStudy | Study, studies: int, seed: int
) -> tuple[float, float, float, float]:
    """Simulate studies, and measure their intervals.

    Returns:
        The shares in which the interval contains the true accuracy, lies above it and lies below
        it, and the median width.
    """
    rng = np.random.default_rng(seed)
    truth = study.accuracy if isinstance(study, CorrelatedStudy) else study.accuracy()
    estimates = [estimate_accuracy(study.draw(rng)[0]) for _ in range(studies)]
    lows = np.array([estimate.low for estimate in estimates])
    highs = np.array([estimate.high for estimate in estimates])
    above = float(np.mean(truth < lows))
    below = float(np.mean(truth > highs))
    return 1 - above - below, above, below, float(np.median(highs - lows))


def measure_paired_test(study: Study, studies: int) -> tuple[float, float, float]:
    """Simulate studies, and count how often the paired test finds a difference.

    Returns:
        The share for equal configs, that of six comparisons of equal configs in which any is
        found after Holm's adjustment, and the share for configs that differ.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(studies):
        base, better, *same = study.draw(rng, (0.0, GAIN, *([0.0] * 6)))
        p_values = [estimate_difference(other, base).p for other in same]
        found.append(
            (
                p_values[0] < 0.05,
                min(p_values) < 0.05 / len(p_values),
                estimate_difference(better, base).p < 0.05,
            )
        )
    one, six, power = np.mean(found, axis=0)
    return float(one), float(six), float(power)


def print_row(*cells: object) -> None:
    """Print a row of a Markdown table. Fractions are written in percent."""
    texts = [f"{100 * cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells]
    print(f"| {' | '.join(texts)} |", flush=True)


def print_heading(*titles: str) -> None:
    """Print the heading of a Markdown table."""
    print(f"\n| {' | '.join(titles)} |\n{'| --- ' * len(titles)}|")


def print_intervals(cases: Iterable[tuple[str, CorrelatedStudy]], studies: int, seed: int) -> None:
    """Print the coverage of the intervals of some cases."""
    measured = ("contains the truth", "above", "below", "width")
    print_heading("groups", "seeds", "own", "rho", "accuracy", *measured)
    for name, case in cases:
        print_row(
            *(name, case.seeds, str(case.own), str(case.correlation), str(case.accuracy)),
            *measure_coverage(case, studies, seed),
        )


def print_seed_effects(studies: int, seed: int) -> None:
    """Print the coverage of the intervals where accuracy differs between seeds."""
    print_heading("studies", "seeds", "contains the truth", "above", "below", "width")
    for (name, study), seeds in itertools.product(SEED_EFFECTS.items(), SEED_NUMBERS):
        print_row(name, seeds, *measure_coverage(replace(study, seeds=seeds), studies, seed))


def print_paired_tests(studies: int) -> None:
    """Print how often the paired test finds a difference."""
    print_heading("studies", "false alarms", "of six, after Holm", "power")
    for name, study in PAIRED_STUDIES.items():
        print_row(name, *measure_paired_test(study, studies))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--short", action="store_true", help="a tenth of the simulations, of every third case"
    )
    parser.add_argument("--studies", type=int, default=STUDIES, help="simulations of each case")
    parser.add_argument("--seed", type=int, default=0, help="of the simulations of intervals")
    parser.add_argument(
        "--groups", choices=(*SIZES, SEEDS_DIFFER), help="only the intervals of these"
    )
    args = parser.parse_args()
    studies = args.studies // 10 if args.short else args.studies
    if args.groups != SEEDS_DIFFER:
        cases = [case for case in list_cases() if args.groups in (None, case[0])]
        print_intervals(cases[:: 3 if args.short else 1], studies, args.seed)
    if args.groups in (None, SEEDS_DIFFER):
        print_seed_effects(studies, args.seed)
    if args.groups is None:
        print_paired_tests(studies)


if __name__ == "__main__":
    main()
