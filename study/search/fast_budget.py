"""Compare the variants of a grid after a third of their epochs.

A trial's compute is epochs x images x pixels. Nothing is scheduled over epochs, so a trial's first
third is the same as that of the whole training. Each trial is paused there, and the full grid goes
on from where the fast one stopped. Dropping variants early to train the others for longer was
tried, too, and is no better on both data sets: benchmarks/README.md.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from study.common.errors import ConfigError
from study.job import Outcome
from study.search.grid_plan import Cell
from study.variants import VARIANTS

SHARE = 3  # the full grid's compute is divided by this
BASELINE = 1  # the variant that the others are compared with
SAME = 1e-9  # a smaller difference between two gains is rounding
LEVEL = 0.05  # below this p-value by Holm's method, a variant differs from the baseline
FACTORS = {"hidden layers": "hidden_layers", "dense units": "dense_units", "lr": "lr_factor"}


def fast_epochs(epochs: int) -> int:
    """Return the number of epochs after which a trial is paused.

    Raises:
        ConfigError: a third of them is less than one.
    """
    if epochs < SHARE:
        raise ConfigError(
            f"--budget fast trains a third of the epochs, so epochs={epochs} is too few: "
            f"use {SHARE} or more, or --budget full"
        )
    return epochs // SHARE


def mean_by_variant(accuracies: Mapping[Cell, float]) -> dict[int, float]:
    """Return the mean accuracy of each variant, by its number."""
    by_variant: dict[int, list[float]] = {}
    for cell, accuracy in accuracies.items():
        by_variant.setdefault(cell.variant, []).append(accuracy)
    return {variant: fmean(values) for variant, values in sorted(by_variant.items())}


def significant_directions(accuracies: Mapping[Cell, float]) -> dict[int, int]:
    """Test which variants are more or less accurate than the baseline.

    The test is Student's t, paired by seed and fold, with Holm's method over all variants that have
    two pairs or more. A difference that is the same in each pair is not significant.

    Returns:
        By variant: 1 if it is better, -1 if it is worse, 0 if the difference is not significant.
    """
    # Imported late: with scipy.stats it takes a second, twice with a worker, and few grids are
    # fast ones.
    from statsmodels.stats.multitest import multipletests

    variants = sorted({cell.variant for cell in accuracies} - {BASELINE})
    all_gains = {variant: _compute_gains(accuracies, variant) for variant in variants}
    gains = {variant: values for variant, values in all_gains.items() if len(values) > 1}
    if not gains:
        return {}
    p_values = [_compute_p_value(values) for values in gains.values()]
    adjusted_p_values = multipletests(p_values, method="holm")[1]
    return {
        variant: int(np.sign(fmean(values))) if p < LEVEL else 0
        for (variant, values), p in zip(gains.items(), adjusted_p_values, strict=True)
    }


def _compute_gains(accuracies: Mapping[Cell, float], variant: int) -> list[float]:
    """Return the accuracy gains over the baseline, for each seed and fold of both."""
    baseline = {
        cell._replace(variant=variant): accuracy
        for cell, accuracy in accuracies.items()
        if cell.variant == BASELINE
    }
    shared_cells = sorted(accuracies.keys() & baseline.keys())
    return [accuracies[cell] - baseline[cell] for cell in shared_cells]


def _compute_p_value(gains: Sequence[float]) -> float:
    from scipy.stats import ttest_1samp  # imported late, as above

    are_equal = max(gains) - min(gains) < SAME
    return 1.0 if are_equal else float(ttest_1samp(gains, 0).pvalue)


def describe_factors(directions: Mapping[int, int]) -> dict[str, str]:
    """Describe the effect of each factor, from the variants that change it.

    Args:
        directions: those that `significant_directions` returns.
    """
    words = {
        (): "not significant",
        (1,): "positive",
        (-1,): "negative",
        (-1, 1): "positive and negative",
    }
    descriptions = {}
    for factor, field in FACTORS.items():
        baseline_value = getattr(VARIANTS[BASELINE - 1], field)
        variants = [each.number for each in VARIANTS if getattr(each, field) != baseline_value]
        effects = {directions.get(variant, 0) for variant in variants} - {0}
        descriptions[factor] = words[tuple(sorted(effects))]
    return descriptions


def describe_budget(finished: Mapping[Cell, Outcome]) -> str:
    """Describe the result of a fast grid in a sentence or two.

    The text is empty if nothing is finished.
    """
    accuracies = {cell: outcome.val_accuracy for cell, outcome in finished.items()}
    if not accuracies:
        return ""
    mean = mean_by_variant(accuracies)
    best = max(mean, key=lambda variant: mean[variant])
    effects = ", ".join(
        f"{factor} {effect}"
        for factor, effect in describe_factors(significant_directions(accuracies)).items()
    )
    return (
        f"variant {best} leads on validation (mean {mean[best]:.4f}); effects on accuracy, "
        f"compared with the baseline: {effects}"
    )
