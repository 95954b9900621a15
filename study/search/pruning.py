"""Which trials are ended early: by their epochs, in the process that trains, and by their seeds."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import optuna
from optuna.exceptions import StorageInternalError
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.pruners import HyperbandPruner
from optuna.pruners import MedianPruner
from optuna.pruners import NopPruner
from scipy import stats
from sqlalchemy.exc import SQLAlchemyError

from study.common.settings import storage_url
from study.job import Watch
from study.search.storage import make_storage

PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    # a fifth of the epochs, one at least, passes before a trial is judged; Optuna counts from 0
    "median": lambda epochs: MedianPruner(5, n_warmup_steps=1 + max(1, epochs // 5)),
    "hyperband": lambda epochs: HyperbandPruner(1, epochs),
    "none": lambda _: NopPruner(),
}
RULES = {"median": "the median of earlier trials", "hyperband": "what hyperband lets go on"}
DOUBT = 0.1  # p-value below which a config gets no further seed

Place = tuple[str, str]  # of a study: the storage's URL, the name


def watch(trial: optuna.Trial, pruner: str, epochs: int, metric: str) -> Watch:
    """How the process that trains tells Optuna of its epochs, and asks whether to go on.

    Args:
        trial: Optuna's.
        pruner: one of `PRUNERS`.
        epochs: at most, of each trial.
        metric: the figure to judge by, `val_accuracy`, `val_auc` or `val_loss`.
    """
    place = (storage_url(), trial.study.study_name)
    return Watch("study.search.pruning:judge", (place, trial._trial_id, pruner, epochs, metric))


def judge(
    place: Place, trial_id: int, pruner: str, epochs: int, metric: str, epoch: Mapping[str, float]
) -> str | None:
    """Report an epoch's figure; the reason to stop, if there is one.

    A storage that does not answer stops no training: it is told of the epoch with the next one.
    """
    if metric not in epoch:  # AUC, where validation lacks a class
        return None
    number, value = int(epoch["epoch"]), epoch[metric]
    untold = _untold(trial_id)
    untold[number] = value
    try:
        trial = optuna.Trial(_study(place, pruner, epochs), trial_id)
        for step in sorted(untold):
            trial.report(untold[step], step)
            del untold[step]
        if not trial.should_prune():
            return None
    except (StorageInternalError, SQLAlchemyError, UpdateFinishedTrialError):
        return None
    side = "above" if metric == "val_loss" else "below"
    return f"epoch {number}: {metric} {value:.4f} {side} {RULES[pruner]}"


@lru_cache(maxsize=1)
def _untold(trial_id: int) -> dict[int, float]:  # noqa: ARG001
    return {}


@lru_cache(maxsize=1)
def _study(place: Place, pruner: str, epochs: int) -> optuna.Study:
    """Kept between trials, for it remembers those that ended: reading 10,000 takes seconds."""
    storage, name = place
    return optuna.load_study(
        study_name=name, storage=make_storage(storage), pruner=PRUNERS[pruner](epochs)
    )


def not_worth_another_seed(
    values: Sequence[float], others: Sequence[Sequence[float]], *, minimize: bool
) -> str | None:
    """Why a config shall not be trained with its next seed; None if it has earned that.

    A one-sided t-test of its mean difference to the best config over the seeds that both have (one
    seed means one split, so they pair). A difference's spread is pooled over all configs with all
    their seeds. A test by ranks, such as Optuna's WilcoxonPruner, says nothing before the fourth.

    The best of many was lucky, too, and each seed is another test, so the rule errs more often than
    `DOUBT`: with ten configs and three seeds, of configs as good as the best, a sixth is ended at
    the first seed and a quarter by the second, if configs differ as much as repeats do; a quarter
    and two fifths if all are alike. Of those three spreads worse, 19 in 20 end at the first seed.

    Args:
        values: of the config's seeds so far, at least one.
        others: the values of all seeds of each config that has them, in the same order of seeds.
        minimize: whether less is better.
    """
    if len(others) < 2:
        return None
    table = -np.array(others) if minimize else np.array(others)
    best = table[table.mean(axis=1).argmax()]
    differences = np.delete(table, table.mean(axis=1).argmax(), axis=0) - best
    freedom = differences.shape[0] * (differences.shape[1] - 1)
    spread = np.sqrt(differences.var(axis=1, ddof=1).mean())
    mine = (-np.array(values) if minimize else np.array(values)) - best[: len(values)]
    if spread == 0:
        return None
    chance = float(stats.t.cdf(mine.mean() / (spread / np.sqrt(len(values))), freedom))
    if not chance < DOUBT:  # so that one that is not a number ends nothing
        return None
    return (
        f"seed {len(values)}: {abs(mine.mean()):.4f} worse than the best on the same seeds "
        f"(p = {chance:.3f})"
    )
