"""The questions that are asked of MLflow while training, and the runs that others stand under."""

import math
import os
from collections.abc import Callable
from typing import Any
from typing import TypeVar

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.tracking import MlflowClient

from study.job import Outcome
from study.tracking.connection import talking

PAGE = 200  # runs; for 1,000, MLflow's default, a busy server takes longer than one waits for it
T = TypeVar("T")
PAUSED = "paused"  # a tag: after which epoch, for a run that is to go on later


@talking()
def experiment_id(client: MlflowClient, dataset: str) -> str:
    """The experiment for a data set's runs, made if need be.

    Set by `mlflow run` or `MLFLOW_EXPERIMENT_NAME`, else named after the data set.
    """
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or dataset
    for _ in range(2):  # another process may make it between the look and the making
        if (found := client.get_experiment_by_name(name)) is not None:
            return str(found.experiment_id)
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            problem = error
    raise problem


@talking()
def search(client: MlflowClient, query: str) -> list[Run]:
    """The active runs of all experiments that match an MLflow filter, earliest first."""
    found = _all(lambda token: client.search_experiments(page_token=token))
    ids = [experiment.experiment_id for experiment in found]
    given: dict[str, Any] = {"order_by": ["attributes.start_time ASC"], "max_results": PAGE}
    return _all(lambda token: client.search_runs(ids, query, page_token=token, **given))


def _all(page: Callable[[str | None], PagedList[T]]) -> list[T]:
    found: list[T] = []
    token: str | None = None
    while token is None or token:
        part = page(token)
        found += part
        token = part.token or ""
    return found


def find_finished(client: MlflowClient, fingerprint: str) -> Run | None:
    """The first complete run of a config on its data, if there is one.

    Ends it if its process was killed between the tag that says so and the end.
    """
    query = f"tags.fingerprint = '{fingerprint}' and tags.finished = 'true'"
    run = next(iter(search(client, query)), None)
    if run is not None and run.info.status != "FINISHED":
        terminate(client, run, "FINISHED")
    return run


def find_begun(client: MlflowClient, fingerprint: str) -> list[Run]:
    """A config's runs that were begun and neither completed nor given up, earliest first."""
    runs = search(client, f"tags.fingerprint = '{fingerprint}'")
    return [run for run in runs if not {"finished", "given_up"} & set(run.data.tags)]


def epochs_begun(client: MlflowClient, fingerprint: str) -> int:
    """The epochs that the record holds of a config's run under way; 0 if there is none."""
    curves = (curve(client, r.info.run_id, "val_loss") for r in find_begun(client, fingerprint))
    return max((len(epochs) for epochs in curves), default=0)


@talking()
def is_running(client: MlflowClient, run_id: str) -> bool:
    """Whether a run is there and has not ended."""
    try:
        info = client.get_run(run_id).info
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return bool(info.status == "RUNNING" and info.lifecycle_stage == "active")


def outcome(run: Run) -> Outcome:
    """What a complete run came to."""
    figures = run.data.metrics
    return Outcome(
        run.info.run_id,
        figures["val_accuracy"],
        figures["test_accuracy"],
        figures["val_loss"],
        figures.get("val_auc", math.nan),
    )


def outcome_after(client: MlflowClient, fingerprint: str, epochs: int) -> Outcome | None:
    """What a config came to after so many epochs, or at an earlier end; None if it is not so far.

    Test accuracy is not known. Each epoch is as in the whole training, whatever ended the run.
    """
    for run in search(client, f"tags.fingerprint = '{fingerprint}'"):
        loss = curve(client, run.info.run_id, "val_loss")
        last = min(epochs, max(loss, default=0))
        if last == epochs or (last and "finished" in run.data.tags):
            accuracy = curve(client, run.info.run_id, "val_accuracy")  # is written with the loss
            return Outcome(run.info.run_id, accuracy[last], math.nan, loss[last])
    return None


@talking()
def curve(client: MlflowClient, run_id: str, name: str) -> dict[int, float]:
    """A metric's value at each step (epochs, from 1)."""
    return {point.step: point.value for point in client.get_metric_history(run_id, name)}


@talking()
def terminate(client: MlflowClient, run: Run, status: str) -> None:
    """End a run with a status such as `FINISHED`."""
    client.set_terminated(run.info.run_id, status)
