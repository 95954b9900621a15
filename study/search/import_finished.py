"""Add finished runs in MLflow to Optuna's study, so that nothing is trained twice."""

from mlflow.entities import Run
from optuna.trial import create_trial
from optuna.trial import FrozenTrial

from study.common.errors import ConfigError
from study.config.trial_config import parse_value
from study.search.search_scheduler import SearchScheduler
from study.search.trial_states import find_ended_trials
from study.tracking import queries


def import_finished(search: SearchScheduler) -> int:
    """Add finished runs in MLflow that belong to the space to Optuna's study.

    Returns:
        The number of runs that were new.
    """
    if search.seeds > 1:
        return 0  # a trial of several seeds finds its finished runs one by one
    tags = {"finished": "true", "data_digest": search.digest}
    runs = queries.search_runs_by_tags(search.client, tags)
    known = find_ended_trials(search.claims.storage.retry_until_available(search.claims.trials))
    trials = [_make_trial(search, run) for run in runs if run.data.tags["fingerprint"] not in known]
    new_trials: dict[str, FrozenTrial] = {}
    for trial in trials:
        if trial is not None:
            new_trials.setdefault(trial.user_attrs["fingerprint"], trial)
    search.claims.add_missing(new_trials)
    return len(new_trials)


def _make_trial(search: SearchScheduler, run: Run) -> FrozenTrial | None:
    """Return a finished run as a trial, or None if the run is not of this space."""
    values = search.space.base.as_dict() | run.data.params  # a run may lack newer fields
    try:
        point = {name: parse_value(name, str(values[name])) for name in search.space.free}
        key = search.key(point)
        if key != run.data.tags["fingerprint"]:
            return None  # it differs in a field that is not searched
        value = run.data.metrics[search.metric]
        return create_trial(
            value=value,
            params=point,
            distributions=search.space.free,
            user_attrs={"run_ids": [run.info.run_id], "fingerprint": key, "values": [value]},
            intermediate_values=queries.fetch_curve(search.client, run.info.run_id, search.metric),
        )
    except (ConfigError, KeyError, ValueError):  # out of range, or without this metric
        return None
