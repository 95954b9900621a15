"""Decide which trials end early.

`report_epoch` compares a trial's epochs with those of other trials, in the process that trains.
`explain_no_further_seed` compares a config's seeds with those of other configs.
"""

import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.exceptions import StorageInternalError
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.pruners import HyperbandPruner
from optuna.pruners import MedianPruner
from optuna.pruners import NopPruner
from sqlalchemy.exc import SQLAlchemyError

from study.common.settings import storage_url
from study.job import Watch
from study.search.optuna_database import make_storage
from study.statistics.ties import TOLERANCE

PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    # No trial is judged in the first fifth of its epochs, or in its first one if that is more.
    # Optuna counts epochs from 0.
    "median": lambda epochs: MedianPruner(5, n_warmup_steps=1 + max(1, epochs // 5)),
    "hyperband": lambda epochs: HyperbandPruner(1, epochs),
    "none": lambda _: NopPruner(),
}
RULES = {"median": "the median of earlier trials", "hyperband": "hyperband's limit"}
SEED_ALPHA = 0.1  # p-value below which a config gets no further seed

StudyLocation = tuple[str, str]  # of a study: the storage's URL, the name
Figures = NDArray[np.float64]


def make_watch(trial: optuna.Trial, pruner: str, epochs: int, metric: str) -> Watch:
    """Return the per-epoch callback that reports to Optuna and may end the trial.

    The process that trains calls it.

    Args:
        trial: Optuna's.
        pruner: one of `PRUNERS`.
        epochs: at most, of each trial.
        metric: the figure to judge by, such as `val_accuracy` or `val_loss`.
    """
    place = (storage_url(), trial.study.study_name)
    return Watch(
        "study.search.pruning:report_epoch", (place, trial._trial_id, pruner, epochs, metric)
    )


def report_epoch(
    place: StudyLocation,
    trial_id: int,
    pruner: str,
    epochs: int,
    metric: str,
    epoch: Mapping[str, float],
) -> str | None:
    """Report an epoch's figure to Optuna and return the reason to stop, or None.

    A storage that does not answer stops no training. Its figure is reported with the next epoch's.
    """
    if metric not in epoch:  # AUC, where validation lacks a class
        return None
    number = int(epoch["epoch"])
    value = epoch[metric]
    unreported = _get_unreported(trial_id)
    unreported[number] = value
    try:
        trial = optuna.Trial(_load_study(place, pruner, epochs), trial_id)
        for step in sorted(unreported):
            trial.report(unreported[step], step)
            del unreported[step]
        if not trial.should_prune():
            return None
    except (StorageInternalError, SQLAlchemyError, UpdateFinishedTrialError):
        return None
    side = "above" if metric == "val_loss" else "below"
    return f"epoch {number}: {metric} {value:.4f} {side} {RULES[pruner]}"


@lru_cache(maxsize=1)
def _get_unreported(trial_id: int) -> dict[int, float]:  # noqa: ARG001
    """Return the figures that the storage does not have yet, by epoch.

    The cache keeps the same dictionary for as long as the trial is the same.
    """
    return {}


@lru_cache(maxsize=1)
def _load_study(place: StudyLocation, pruner: str, epochs: int) -> optuna.Study:
    """Load the study, once for all trials of this process.

    It remembers the trials that ended, and reading 10,000 of them takes seconds.
    """
    url, name = place
    return optuna.load_study(
        study_name=name, storage=make_storage(url), pruner=PRUNERS[pruner](epochs)
    )


def explain_no_further_seed(
    values: Sequence[float], others: Sequence[Sequence[float]], *, minimize: bool
) -> str | None:
    """Return why a config gets no further seed, or None if it gets one.

    The test is a one-sided t-test of the config's mean difference from the best config, over the
    seeds that both have. One seed means one split, so values of the same seed pair. The spread of a
    difference is pooled over all configs that have all their seeds. A rank test, such as that of
    Optuna's WilcoxonPruner, cannot show anything before the fourth seed.

    The rule errs more often than `SEED_ALPHA`, because the best of many configs was also lucky, and
    each seed is another test. With ten configs and three seeds, it stops this share of the configs
    that are as good as the best:

    - If configs differ as much as repeats do: a sixth at the first seed, a quarter by the second.
    - If all configs are alike: a quarter at the first seed, two fifths by the second.

    Of the configs that are three spreads worse, it stops 19 in 20 at the first seed.

    Args:
        values: of the config's seeds so far, at least one.
        others: the values of all seeds of each config that has them, in the same order of seeds.
        minimize: whether less is better.
    """
    if len(others) < 2:
        return None
    sign = -1 if minimize else 1
    deficit, p = _compare_with_best(sign * np.array(values), sign * np.array(others))
    if not p < SEED_ALPHA:  # written so that a p-value that is not a number ends nothing
        return None
    return f"seed {len(values)}: {deficit:.4f} worse than the best on the same seeds (p = {p:.3f})"


def _compare_with_best(values: Figures, others: Figures) -> tuple[float, float]:
    """Return the mean difference from the best config, and its p-value.

    More is better. The difference has no sign, and the p-value is one-sided. Without any
    spread between repeats, the p-value is not a number.

    Args:
        values: of one config, by seed.
        others: of the other configs, shape (configs, seeds).
    """
    from scipy.stats import t  # imported late: it takes longer than all else here

    best_row = others.mean(axis=1).argmax()
    best = others[best_row]
    differences = np.delete(others, best_row, axis=0) - best
    freedom = differences.shape[0] * (differences.shape[1] - 1)
    spread = np.sqrt(differences.var(axis=1, ddof=1).mean())
    mean = (values - best[: len(values)]).mean()
    if spread < TOLERANCE:
        return abs(mean), math.nan
    p = float(t.cdf(mean / (spread / np.sqrt(len(values))), freedom))
    return abs(mean), p
