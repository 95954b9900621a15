"""Tell which trials of a study ended, are running or were orphaned.

Every function takes the trials as `Claims.trials` returns them, earliest first. A trial's key is
the fingerprint of its config, an attribute that it has once it is claimed.
"""

from collections.abc import Iterable

from optuna.trial import FrozenTrial
from optuna.trial import TrialState

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def find_ended_trials(trials: Iterable[FrozenTrial]) -> dict[str, FrozenTrial]:
    """Return the first finished or pruned trial of each config, by key."""
    first_trials: dict[str, FrozenTrial] = {}
    for trial in trials:
        if trial.state in ENDED:
            first_trials.setdefault(trial.user_attrs["fingerprint"], trial)
    return first_trials


def collect_running_keys(trials: Iterable[FrozenTrial]) -> set[str]:
    """Return the keys of the configs that any process is training."""
    running_trials = [trial for trial in trials if trial.state == TrialState.RUNNING]
    keys = [trial.user_attrs.get("fingerprint") for trial in running_trials]
    return {key for key in keys if key is not None}


def collect_training_keys(trials: Iterable[FrozenTrial]) -> set[str]:
    """Return the fingerprints of all trainings of the running trials.

    With several seeds, a trial has a training for each, and the first one's fingerprint as its key.
    """
    running_trials = [trial for trial in trials if trial.state == TrialState.RUNNING]
    further = [trial.user_attrs.get("further_fingerprints", []) for trial in running_trials]
    return collect_running_keys(running_trials).union(*further)


def collect_finished_run_ids(trials: Iterable[FrozenTrial]) -> set[str]:
    """Return the ids of the MLflow runs of the finished trials."""
    run_ids: set[str] = set()
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            run_ids |= {*trial.user_attrs.get("run_ids", []), trial.user_attrs.get("run_id", "")}
    return run_ids


def list_orphaned_trials(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials whose process died, and whose config nobody has claimed since."""
    latest = {trial.user_attrs.get("fingerprint"): trial for trial in trials}
    return [
        trial
        for key, trial in latest.items()
        if key and trial.state == TrialState.FAIL and "reason" not in trial.user_attrs
    ]
