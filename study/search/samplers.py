"""Make the samplers that propose configs, and detect when a search has converged."""

import importlib.util
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler
from optuna.samplers import CmaEsSampler
from optuna.samplers import GPSampler
from optuna.samplers import RandomSampler
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from study.common.errors import StudyError
from study.search.search_plan import STAGNATION

SAMPLERS: dict[str, Callable[[int | None], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(multivariate=True, constant_liar=True, seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed),
    "cmaes": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
}
NEEDED = {"gp": "torch", "cmaes": "cmaes"}  # packages that only these samplers use


def make_sampler(name: str, seed: int | None) -> BaseSampler:
    """Make one of `SAMPLERS`.

    Raises:
        StudyError: a package that it needs is not installed.
    """
    package = NEEDED.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise StudyError(f"--sampler {name} needs the package {package}: pip install {package}")
    return SAMPLERS[name](seed)


def has_converged(study: optuna.Study) -> bool:
    """Return True if the best value has not changed for `STAGNATION` trials.

    Pruned trials do not count.
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = [trial.value or 0.0 for trial in trials]
    if not values:
        return False
    best = min(values) if study.direction == StudyDirection.MINIMIZE else max(values)
    return len(values) - values.index(best) > STAGNATION
