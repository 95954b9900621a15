"""Summarize a search so far, for the page of its parent run in the MLflow UI."""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from statistics import fmean

from mlflow.entities import Run
from optuna.trial import FrozenTrial
from optuna.trial import TrialState

from study.common.words import pluralize
from study.config.trial_config import TrialConfig
from study.job import Outcome
from study.search.confirm import Confirmation
from study.search.confirm import START
from study.search.search_scheduler import SearchScheduler
from study.search.study_page import describe_protocol
from study.search.study_page import format_known_percent
from study.search.study_page import format_link
from study.search.study_page import make_operations
from study.search.trial_states import collect_running_keys
from study.search.trial_states import find_ended_trials
from study.tracking.operations import Operation


def summarize_search(
    search: SearchScheduler, confirmation: Confirmation, doubts: Sequence[str], run: Run
) -> list[Operation]:
    """Return what to write to a search's parent run.

    Test accuracies are those of the confirming runs alone.

    Args:
        search: so far.
        confirmation: what the fresh seeds show.
        doubts: why the win did not repeat in them, if so.
        run: the parent run.
    """
    ended = find_ended_trials(search.claims.trials())
    complete = sum(trial.state == TrialState.COMPLETE for trial in ended.values())
    failed = _count_failed(search, ended.keys())
    figures = {"finished": float(complete), "failed": float(failed)}
    paragraphs = []
    best = search.best()
    if best is not None:
        figures[f"best_{search.metric}"] = best.value or 0.0
        paragraphs.append(f"**Best on validation:** {_describe_best_trial(run, search, best)}")
    for name, confirmed, words in (
        ("confirmed", confirmation.winner, "Trained again with other seeds**, its test accuracy"),
        ("start", confirmation.start, f"With the same seeds**, that of {START}"),
    ):
        if confirmed:
            figures[f"{name}_test_accuracy_mean"] = _compute_test_accuracy(confirmed)
            trainings = _describe_trainings(run, confirmed, search.name_digest)
            paragraphs.append(f"**{words} is {trainings}")
    if doubts:
        paragraphs.append(f"**The win did not repeat:** {'; '.join(doubts)}.")
    paragraphs.append(
        f"Search over {', '.join(search.space.free)}: {pluralize(complete, 'trial')} finished, "
        f"{len(ended) - complete} pruned, {failed} failed. "
        f"{describe_protocol(search.space.base, search.name_digest, search.space.free)}."
    )
    return make_operations(run, search.space.base, paragraphs, figures)


def _compute_test_accuracy(confirmed: Mapping[TrialConfig, Outcome]) -> float:
    return fmean(outcome.test_accuracy for outcome in confirmed.values())


def _describe_trainings(
    run: Run, confirmed: Mapping[TrialConfig, Outcome], name_digest: str
) -> str:
    """Describe the mean test accuracy of confirming runs, with a link to each."""
    means_part = f" (mean of {len(confirmed)} trainings)" if len(confirmed) > 1 else ""
    links = [
        format_link(run, config, outcome.run_id, name_digest)
        for config, outcome in confirmed.items()
    ]
    return (
        f"{format_known_percent(_compute_test_accuracy(confirmed))}{means_part}: {', '.join(links)}"
    )


def _describe_best_trial(run: Run, search: SearchScheduler, best: FrozenTrial) -> str:
    run_ids = best.user_attrs["run_ids"]
    seeds_part = f" (mean of {len(run_ids)} seeds)" if len(run_ids) > 1 else ""
    link = format_link(run, search.space.config(best.params), run_ids[0], search.name_digest)
    return f"{link}, {search.metric.replace('_', ' ')} {best.value:.4f}{seeds_part}"


def _count_failed(search: SearchScheduler, ended_keys: Collection[str]) -> int:
    """Count the configs whose training failed, and which neither ended nor are running."""
    failed_keys = {
        trial.user_attrs["fingerprint"]
        for trial in search.claims.trials(TrialState.FAIL)
        # A trial that was closed before it had a config did not fail
        if {"reason", "fingerprint"} <= trial.user_attrs.keys()
    }
    return len(failed_keys - set(ended_keys) - collect_running_keys(search.claims.trials()))
