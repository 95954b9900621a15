"""Compare the coverage of the study's intervals with that of a bootstrap.

    python -m experiments.intervals

Simulates studies whose truth is known (`tests/support/simulated.py`) and counts how often an
interval contains it. The bootstrap is SciPy's percentile bootstrap, of one seed, with groups as its
units. A share of 95 % has a standard error of 0.7 points.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from study.statistics.intervals import Counts
from study.statistics.intervals import estimate_accuracy
from study.statistics.intervals import estimate_difference
from tests.support.simulated import BLOOD
from tests.support.simulated import Study

STUDIES = 1000
RESAMPLES = 999
GAIN = 1.0  # on the logit scale: from 84 % to 92 % of blood's test images
ONE = Study(BLOOD)
WORLDS = {
    "blood's 71 originals, accuracy 0.84": ONE,
    "the same, accuracy 0.93": Study(BLOOD, mean=3.0),
    "the same, accuracy 0.98": Study(BLOOD, mean=4.8),
    "the same, five seeds": dataclasses.replace(ONE, seeds=5),
    "five seeds, a test set each": Study(np.tile(BLOOD, 3), seeds=5, shared=False),
    "two seeds, a test set each": Study(np.tile(BLOOD, 3), seeds=2, shared=False),
    "1,168 single images": Study(np.ones(1168, dtype=int), mean=3.0),
}


def bootstrapped(counts: Counts, rng: np.random.Generator) -> tuple[float, float]:
    """Return the bootstrap's percentile interval of one seed's accuracy."""

    def share(right: np.ndarray, tested: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.sum(right, axis=axis) / np.sum(tested, axis=axis)

    found = stats.bootstrap(
        (counts.right[:, 0], counts.tested[:, 0]), share, paired=True, vectorized=True,
        n_resamples=RESAMPLES, method="percentile", rng=rng,
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def shares(study: Study, rng: np.random.Generator) -> Sequence[float]:
    """Return shares of studies: coverage, the bootstrap's, false alarms and power."""
    truth, seen = study.accuracy(), []
    for _ in range(STUDIES):
        base, same, better = study.draw(rng, (0.0, 0.0, GAIN))
        found = estimate_accuracy(base)
        low, high = bootstrapped(base, rng) if study.seeds == 1 else (np.nan, np.nan)
        alarms = [estimate_difference(other, base).p < 0.05 for other in (same, better)]
        seen.append((found.low <= truth <= found.high, low <= truth <= high, *alarms))
    return list(np.mean(seen, axis=0))


def main() -> None:
    """Simulate, and print a table."""
    rng = np.random.default_rng(0)
    print("| studies | holds the truth | bootstrap | false alarms | power |")
    print("| --- | --- | --- | --- | --- |")
    for name, study in WORLDS.items():
        ours, theirs, false, power = (f"{100 * share:.1f} %" for share in shares(study, rng))
        print(
            f"| {name} | {ours} | {theirs if study.seeds == 1 else ''} | {false} | {power} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
