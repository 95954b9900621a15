"""Query MLflow for experiments, runs and metrics while training."""

import functools
import math
import re
import sys
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import TypeVar

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.tracking import MlflowClient

from study.job import Outcome
from study.tracking.failures import mlflow_errors_as_study_errors

# Runs per request. For 1,000, MLflow's default, a busy server takes longer than a request may take.
PAGE = 200
T = TypeVar("T")
PAUSED_TAG = "paused"  # a tag with the epoch after which a run was paused, to go on later


def search_runs_by_tags(
    client: MlflowClient, tags: Mapping[str, str], *conditions: str
) -> list[Run]:
    """Return the active runs that have these tags, earliest first.

    Args:
        client: the MLflow client.
        tags: names and values. A value may have any characters in it.
        conditions: further ones, in MLflow's filter language.
    """
    clauses = [_match_text(f"tags.{name}", value) for name, value in tags.items()]
    runs = search_runs(client, " and ".join([*clauses, *conditions]))
    return [run for run in runs if all(run.data.tags.get(name) == tags[name] for name in tags)]


def _match_text(field: str, value: str) -> str:
    """Return an MLflow filter for a tag or param, which may match more values.

    MLflow's filters know no escapes: a value in one kind of quotes cannot have that kind in it, and
    a backslash only in double quotes. A value with both is matched with a wildcard in their places.
    """
    if not re.search(r"['\\]", value):
        return f"{field} = '{value}'"
    if '"' not in value:
        return f'{field} = "{value}"'
    pattern = re.sub(r"""['"\\]""", "_", value)
    return f"{field} LIKE '{pattern}'"


@mlflow_errors_as_study_errors()
def search_runs(client: MlflowClient, query: str) -> list[Run]:
    """Return the active runs that match an MLflow filter, earliest first.

    The runs are those of all experiments.
    """
    experiments = _fetch_all_pages(lambda token: client.search_experiments(page_token=token))
    ids = [experiment.experiment_id for experiment in experiments]
    options: dict[str, Any] = {"order_by": ["attributes.start_time ASC"], "max_results": PAGE}
    return _fetch_all_pages(
        lambda token: client.search_runs(ids, query, page_token=token, **options)
    )


def _fetch_all_pages(fetch_page: Callable[[str | None], PagedList[T]]) -> list[T]:
    """Return the items of all pages, each fetched by the token of the one before."""
    items: list[T] = []
    token: str | None = None  # None asks for the first page, and "" means that there is no other
    while token is None or token:
        page = fetch_page(token)
        items += page
        token = page.token or ""
    return items


def find_runs(client: MlflowClient, fingerprint: str) -> list[Run]:
    """Return all runs of a config on its data, earliest first."""
    return search_runs_by_tags(client, {"fingerprint": fingerprint})


def find_runs_by_fingerprint(
    client: MlflowClient, fingerprints: Collection[str], common_params: Mapping[str, Any]
) -> dict[str, list[Run]]:
    """Return the runs of several configs by fingerprint, found in one search.

    Args:
        client: the MLflow client.
        fingerprints: of the configs.
        common_params: params that all the configs have, which make the search a small one.

    Returns:
        For each fingerprint its runs, earliest first.
    """
    runs_by_fingerprint: dict[str, list[Run]] = {key: [] for key in fingerprints}
    if not runs_by_fingerprint:
        return {}
    clauses = [_match_text(f"params.{name}", str(value)) for name, value in common_params.items()]
    for run in search_runs(client, " and ".join(clauses)):
        if (key := run.data.tags.get("fingerprint", "")) in runs_by_fingerprint:
            runs_by_fingerprint[key].append(run)
    return runs_by_fingerprint


def choose_complete_run(runs: Iterable[Run]) -> Run | None:
    """Return the first complete one of a config's runs, or None.

    Runs that lack a figure are left out with a warning, because this code never writes such runs.
    """
    complete_runs = (run for run in runs if run.data.tags.get("finished") == "true")
    return next(filter(_has_outcome, complete_runs), None)


def _has_outcome(run: Run) -> bool:
    """Return True if a run has the figures of an outcome, else print a warning."""
    missing = list_missing_figures(run)
    if missing:
        _warn_once(f"run {run.info.run_id} is left out: it has no {' and no '.join(missing)}")
    return not missing


def list_missing_figures(run: Run) -> list[str]:
    """Return the names of an outcome's figures that a run lacks."""
    figures = run.data.metrics
    # The loss of a training that diverged may be NaN. An accuracy never is.
    return [
        name
        for name in ("val_accuracy", "test_accuracy", "val_loss")
        if name not in figures or (name != "val_loss" and math.isnan(figures[name]))
    ]


@functools.cache
def _warn_once(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def select_unfinished_runs(runs: Iterable[Run]) -> list[Run]:
    """Return those of a config's runs that are neither complete nor given up."""
    return [run for run in runs if not {"finished", "given_up"} & set(run.data.tags)]


def count_logged_epochs(client: MlflowClient, fingerprint: str) -> int:
    """Return how many epochs MLflow has of a config's run under way.

    Of several runs, the one with the most epochs counts. Without a run, the number is 0.
    """
    runs = select_unfinished_runs(find_runs(client, fingerprint))
    curves = (fetch_curve(client, run.info.run_id, "val_loss") for run in runs)
    return max((len(losses) for losses in curves), default=0)


@mlflow_errors_as_study_errors()
def is_running(client: MlflowClient, run_id: str) -> bool:
    """Return True if a run exists, is not deleted and has not ended."""
    try:
        info = client.get_run(run_id).info
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return bool(info.status == "RUNNING" and info.lifecycle_stage == "active")


def read_outcome(run: Run) -> Outcome:
    """Return the outcome of a complete run, as `choose_complete_run` returns it."""
    figures = run.data.metrics
    return Outcome(
        run.info.run_id,
        figures["val_accuracy"],
        figures["test_accuracy"],
        figures["val_loss"],
        figures.get("val_auc", math.nan),
        figures.get("val_balanced_accuracy", math.nan),
        figures.get("majority_fraction", math.nan),
    )


def find_outcome_after(client: MlflowClient, runs: Iterable[Run], epochs: int) -> Outcome | None:
    """Return a config's outcome after `epochs` epochs, or at an earlier finish.

    Whatever ended a run, its epochs up to then are those of the whole training.

    Args:
        client: the MLflow client.
        runs: all of the config.
        epochs: after which to read the outcome.

    Returns:
        The outcome, with NaN as test accuracy, because that is not known. None if no run of the
        config has come so far.
    """
    for run in runs:
        losses = fetch_curve(client, run.info.run_id, "val_loss")
        last = min(epochs, max(losses, default=0))
        if last == epochs or (last and "finished" in run.data.tags):
            # Accuracy is written together with the loss, so it has the same epochs.
            accuracies = fetch_curve(client, run.info.run_id, "val_accuracy")
            return Outcome(run.info.run_id, accuracies[last], math.nan, losses[last])
    return None


@mlflow_errors_as_study_errors()
def fetch_curve(client: MlflowClient, run_id: str, name: str) -> dict[int, float]:
    """Return a metric's value at each step (epochs, from 1)."""
    return {point.step: point.value for point in client.get_metric_history(run_id, name)}
