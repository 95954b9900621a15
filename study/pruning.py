"""Which trials are ended before their last epoch, decided in the process that trains."""

from collections.abc import Callable
from collections.abc import Mapping
from functools import lru_cache

import optuna
from optuna.pruners import BasePruner
from optuna.pruners import HyperbandPruner
from optuna.pruners import MedianPruner
from optuna.pruners import NopPruner

from study.options import Watch
from study.study_storage import storage_url

PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    # a fifth of the epochs, one at least, passes before a trial is judged; Optuna counts from 0
    "median": lambda epochs: MedianPruner(5, n_warmup_steps=1 + max(1, epochs // 5)),
    "hyperband": lambda epochs: HyperbandPruner(1, epochs),
    "none": lambda _: NopPruner(),
}
RULES = {"median": "the median of earlier trials", "hyperband": "what hyperband lets go on"}


def watch(trial: optuna.Trial, pruner: str, epochs: int, metric: str) -> Watch:
    """How the process that trains tells Optuna of its epochs, and asks whether to go on.

    Args:
        trial: Optuna's.
        pruner: one of `PRUNERS`.
        epochs: at most, of each trial.
        metric: the figure to judge by, `val_accuracy` or `val_loss`.
    """
    place = (storage_url(), trial.study.study_name, trial.number)
    return Watch("study.pruning:judge", (place, pruner, epochs, metric))


def judge(
    place: tuple[str, str, int], pruner: str, epochs: int, metric: str, epoch: Mapping[str, float]
) -> str | None:
    """Report an epoch's figure; the reason to stop, if there is one."""
    trial = _trial(place, pruner, epochs)
    number, value = int(epoch["epoch"]), epoch[metric]
    trial.report(value, number)
    if not trial.should_prune():
        return None
    side = "above" if metric == "val_loss" else "below"
    return f"epoch {number}: {metric} {value:.4f} {side} {RULES[pruner]}"


@lru_cache(maxsize=1)
def _trial(place: tuple[str, str, int], pruner: str, epochs: int) -> optuna.Trial:
    storage, study_name, number = place
    study = optuna.load_study(
        study_name=study_name, storage=storage, pruner=PRUNERS[pruner](epochs)
    )
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
