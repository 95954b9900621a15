"""When a search has converged."""

import optuna
import pytest
from optuna.trial import create_trial
from optuna.trial import TrialState

from study.search.samplers import has_converged
from study.search.search_plan import STAGNATION


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_search_converges_after_as_many_trials_without_a_better_one(direction: str) -> None:
    study = optuna.create_study(direction=direction)
    assert not has_converged(study)
    worse, best = (0.4, 0.5) if direction == "maximize" else (0.5, 0.4)
    for value in (worse, best, *[best, worse] * (STAGNATION // 2)):
        assert not has_converged(study)
        study.add_trial(create_trial(value=value))
    assert has_converged(study)


def test_pruned_trials_are_no_sign_of_convergence() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(value=0.5))
    for _ in range(2 * STAGNATION):
        study.add_trial(create_trial(state=TrialState.PRUNED))
    assert not has_converged(study)
