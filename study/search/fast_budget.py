"""The fast budget: every trial of a grid is paused after a third of its epochs, and compared there.

A trial's compute is epochs x images x pixels. Nothing is scheduled over epochs, so a trial's first
third is that of the whole training, and the full grid goes on from where the fast one stopped.
Cutting variants to train others longer was tried, too, and is no better on both data sets:
benchmarks/README.md.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from study.common.errors import ConfigError
from study.job import Outcome
from study.search.grid_plan import Cell
from study.variants import VARIANTS

SHARE = 3  # of the full grid's compute, one part in so many
BASE = 1  # the variant that the others are judged against
SAME = 1e-9  # less between two gains is rounding
LEVEL = 0.05  # Holm's p below which a variant is told apart from the base
FACTORS = {"hidden layers": "hidden_layers", "dense units": "dense_units", "lr": "lr_factor"}


def fast_epochs(epochs: int) -> int:
    """After how many of its epochs a trial is paused.

    Raises:
        ConfigError: a third of them is less than one.
    """
    if epochs < SHARE:
        raise ConfigError(
            f"epochs={epochs} are too few for a fast budget, which trains a third of them: "
            f"use {SHARE} or more, or the full budget"
        )
    return epochs // SHARE


def means(accuracies: Mapping[Cell, float]) -> dict[int, float]:
    """The mean of each variant."""
    values: dict[int, list[float]] = {}
    for cell, accuracy in accuracies.items():
        values.setdefault(cell.variant, []).append(accuracy)
    return {variant: fmean(of) for variant, of in sorted(values.items())}


def told_apart(accuracies: Mapping[Cell, float]) -> dict[int, int]:
    """Which variants are better (1) or worse (-1) than the base, or not told apart from it (0).

    Student's t, paired by seed and fold, with Holm's method over all variants that have two pairs
    or more; a difference that is the same in each pair claims nothing.
    """
    # late: scipy.stats and it take a second, twice with a worker, and few grids are fast
    from statsmodels.stats.multitest import multipletests

    variants = sorted({cell.variant for cell in accuracies} - {BASE})
    gains = {v: found for v in variants if len(found := _gains(accuracies, v)) > 1}
    if not gains:
        return {}
    adjusted = multipletests([_p(found) for found in gains.values()], method="holm")[1]
    return {
        variant: int(np.sign(fmean(found))) if p < LEVEL else 0
        for (variant, found), p in zip(gains.items(), adjusted, strict=True)
    }


def _gains(accuracies: Mapping[Cell, float], variant: int) -> list[float]:
    """How much more accurate than the base, for each seed and fold that both have."""
    base = {cell._replace(variant=variant): each for cell, each in accuracies.items()
            if cell.variant == BASE}  # fmt: skip
    return [accuracies[cell] - base[cell] for cell in sorted(accuracies.keys() & base.keys())]


def _p(gains: Sequence[float]) -> float:
    from scipy.stats import ttest_1samp  # late, as above

    alike = max(gains) - min(gains) < SAME
    return 1.0 if alike else float(ttest_1samp(gains, 0).pvalue)


def verdicts(apart: Mapping[int, int]) -> dict[str, str]:
    """What each factor does to accuracy, from the variants that change it."""
    words = {(): "not told apart", (1,): "raises", (-1,): "lowers", (-1, 1): "raises and lowers"}
    found = {}
    for name, field in FACTORS.items():
        usual = getattr(VARIANTS[BASE - 1], field)
        changed = [each.number for each in VARIANTS if getattr(each, field) != usual]
        found[name] = words[tuple(sorted({apart.get(v, 0) for v in changed} - {0}))]
    return found


def said(finished: Mapping[Cell, Outcome]) -> str:
    """What a fast grid finds, in a sentence or two; empty if nothing is finished."""
    accuracies = {cell: outcome.val_accuracy for cell, outcome in finished.items()}
    if not accuracies:
        return ""
    mean = means(accuracies)
    best = max(mean, key=lambda variant: mean[variant])
    of = ", ".join(
        f"{name} {verdict}" for name, verdict in verdicts(told_apart(accuracies)).items()
    )
    return f"variant {best} leads on validation (mean {mean[best]:.4f}); against the base: {of}"
