"""Compare the settings of a grid after a third of their epochs.

A trial's compute is epochs x images x pixels. Nothing is scheduled over epochs, so a trial's first
third is the same as that of the whole training. Each trial is paused there, and the full grid goes
on from where the fast one stopped. Dropping variants early to train the others for longer was
tried, too, and was no better on either data set: experiments/README.md.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from study.common.errors import ConfigError
from study.job import Outcome
from study.search.best_setting import find_best_settings
from study.search.best_setting import mean_by_setting
from study.search.grid_plan import Cell
from study.search.grid_plan import describe_setting
from study.search.grid_plan import GridPlan
from study.search.grid_plan import Setting
from study.search.grid_plan import VARIANT
from study.search.grid_plan import variant_setting
from study.variants import VARIANTS

SHARE = 3  # the full grid's compute is divided by this
VALIDATION_RATIO = 1 / 4  # of validation images to training images, as `study/data/split.py` cuts
LEVEL = 0.05  # below this p-value by Holm's method, a setting differs from the baseline
# The fields of a variant that may change, by what sentences call them
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


def significant_directions(
    accuracies: Mapping[Cell, float], baseline: Setting
) -> dict[Setting, int]:
    """Test which settings are more or less accurate than the baseline.

    The test is the corrected resampled t-test (Nadeau and Bengio 2003), paired by seed and fold,
    because the validation images of one seed or fold are training images of others. Holm's method
    adjusts p over all settings that have two pairs or more. A difference that is the same in each
    pair is not significant.

    Returns:
        By setting: 1 if it is better, -1 if it is worse, 0 if the difference is not significant.
    """
    # Imported late: with scipy.stats it takes a second, twice with a worker, and few grids are
    # fast ones.
    from statsmodels.stats.multitest import multipletests

    settings = sorted({cell.setting for cell in accuracies} - {baseline})
    all_gains = {setting: _compute_gains(accuracies, setting, baseline) for setting in settings}
    gains = {setting: values for setting, values in all_gains.items() if len(values) > 1}
    if not gains:
        return {}
    p_values = [_compute_p_value(values) for values in gains.values()]
    adjusted_p_values = multipletests(p_values, method="holm")[1]
    return {
        setting: int(np.sign(fmean(values))) if p < LEVEL else 0
        for (setting, values), p in zip(gains.items(), adjusted_p_values, strict=True)
    }


def _compute_gains(
    accuracies: Mapping[Cell, float], setting: Setting, baseline: Setting
) -> list[float]:
    """Compute a setting's accuracy gains over the baseline.

    There is one for each seed and fold that both have.
    """
    baseline_accuracies = {
        cell._replace(setting=setting): accuracy
        for cell, accuracy in accuracies.items()
        if cell.setting == baseline
    }
    shared_cells = sorted(accuracies.keys() & baseline_accuracies.keys())
    return [accuracies[cell] - baseline_accuracies[cell] for cell in shared_cells]


def _compute_p_value(gains: Sequence[float]) -> float:
    # Imported late, as above
    from study.statistics.cross_validation import estimate_fold_difference
    from study.statistics.cross_validation import FoldGains

    weights = np.full(len(gains), 1 / len(gains))
    return estimate_fold_difference(FoldGains(np.array(gains), weights, VALIDATION_RATIO)).p


def list_factors(plan: GridPlan) -> dict[str, list[Setting]]:
    """Return the settings that change one factor of the baseline alone, by factor.

    The factors are the swept fields, or those of the seven variants.
    """
    if VARIANT in plan.sweep.fields:
        base = VARIANTS[0]
        return {
            factor: [
                variant_setting(each.number)
                for each in VARIANTS
                if getattr(each, field) != getattr(base, field)
            ]
            for factor, field in FACTORS.items()
        }
    factors: dict[str, list[Setting]] = {name: [] for name in plan.sweep.fields}
    for setting in plan.settings:
        changed = [name for name, value in setting if value != plan.sweep.baseline[name]]
        if len(changed) == 1:
            factors[changed[0]].append(setting)
    return factors


def describe_factors(
    directions: Mapping[Setting, int], factors: Mapping[str, Sequence[Setting]]
) -> dict[str, str]:
    """Describe the effect of each factor, from the settings that change it.

    Args:
        directions: those that `significant_directions` returns.
        factors: those that `list_factors` returns.
    """
    words = {
        (): "not significant",
        (1,): "positive",
        (-1,): "negative",
        (-1, 1): "positive and negative",
    }
    descriptions = {}
    for factor, settings in factors.items():
        effects = {directions.get(setting, 0) for setting in settings} - {0}
        descriptions[factor] = words[tuple(sorted(effects))]
    return descriptions


def describe_budget(finished: Mapping[Cell, Outcome], plan: GridPlan) -> str:
    """Describe the result of a fast grid in a sentence or two.

    The text is empty if nothing is finished.
    """
    accuracies = {cell: outcome.val_accuracy for cell, outcome in finished.items()}
    if not accuracies:
        return ""
    best, *others = find_best_settings(accuracies, plan.settings)
    mean = mean_by_setting(accuracies)[best]
    directions = significant_directions(accuracies, plan.baseline)
    effects = ", ".join(
        f"{factor} {effect}"
        for factor, effect in describe_factors(directions, list_factors(plan)).items()
    )
    lead = f"{describe_setting(best)} leads on validation (mean {mean:.4f})"
    if others:
        lead = (
            f"{len(others) + 1} {plan.noun}s tie for the lead on validation (mean {mean:.4f}), the "
            f"first of them {describe_setting(best)}"
        )
    return f"{lead}; effects on accuracy, compared with the baseline: {effects}"
