"""The record: everything a trial writes to MLflow, and the questions asked of it while training.

A run is complete when its tag `finished` is `true`; that tag is written last. Points are never
written twice: a resumed run is asked first which it holds.
"""

import contextlib
import json
import logging
import math
import os
import re
import subprocess
import time
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import Dataset
from mlflow.entities import DatasetInput
from mlflow.entities import InputTag
from mlflow.entities import Metric
from mlflow.entities import Param
from mlflow.entities import Run
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from study.config import parse_value
from study.config import StudyError
from study.options import Outcome
from study.options import Pruned

EPOCH_METRICS = {"loss": "train_loss", "accuracy": "train_accuracy", "seconds": "epoch_seconds"}


class TrackingError(StudyError):
    """MLflow cannot be reached or read, or lacks what was asked for."""


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite file of the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


def shown(uri: str) -> str:
    """A URI fit for messages: without user name and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


def connect() -> MlflowClient:
    """A client of the tracking server, after a look that it answers; makes the schema if need be.

    Raises:
        TrackingError: it does not answer, or cannot be written.
    """
    uri = tracking_uri()
    if re.match(r"file:|(?![a-z+]+:)", uri):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={uri} is a folder, which MLflow no longer writes to: use "
            "sqlite:///mlflow.db or a server's http:// address"
        )
    mlflow.set_tracking_uri(uri)
    # two lines at the end of each run, with the address as it stands, be there a password in it
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # SQLAlchemy logs a traceback where Ctrl-C comes within a query, besides raising it
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
    client = MlflowClient()
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}
    before = {name: os.environ.get(name) for name in patience}
    os.environ.update(patience)  # while training MLflow may retry for minutes, but not here
    try:
        client.search_experiments(max_results=1)
    except Exception as error:  # whatever the store's driver raises
        if "error code 401" in str(error):
            raise TrackingError(
                f"MLflow at {shown(uri)} refuses the login: "
                "mend MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0].replace(uri, shown(uri))
        raise TrackingError(
            f"no MLflow at {shown(uri)}: {reason[:200]}\n"
            "Start it, mend MLFLOW_TRACKING_URI, or unset that to use mlflow.db in this folder."
        ) from error
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return client


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
    raise TrackingError(f"cannot make the experiment {name!r}: {problem}")


def search(client: MlflowClient, query: str) -> list[Run]:
    """The active runs of all experiments that match an MLflow filter, earliest first."""
    ids = [found.experiment_id for found in client.search_experiments()]
    return list(client.search_runs(ids, query, order_by=["attributes.start_time ASC"]))


def find_finished(client: MlflowClient, fingerprint: str) -> Run | None:
    """The first complete run of a config on its data, if there is one."""
    query = f"tags.fingerprint = '{fingerprint}' and tags.finished = 'true'"
    return next(iter(search(client, query)), None)


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


def curve(client: MlflowClient, run_id: str, name: str) -> dict[int, float]:
    """A metric's value at each step (epochs, from 1)."""
    return {point.step: point.value for point in client.get_metric_history(run_id, name)}


def code_version() -> str:
    """`git describe` of the checkout (with `-dirty` if changed), or `unknown` outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        root = Path(__file__).parent
        return subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@dataclass(frozen=True)
class RunLog:
    """One open MLflow run, and the metric points it already held when it was opened."""

    client: MlflowClient
    run_id: str
    seen: frozenset[tuple[str, int]]

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Write params that are not there yet.

        `mlflow run` has already written those it was given, as they were typed.
        """
        there = self.client.get_run(self.run_id).data.params
        for name in there.keys() & params.keys():
            if parse_value(name, there[name]) != params[name]:
                raise TrackingError(f"run {self.run_id} has {name}={there[name]}: not this config")
        new = [Param(name, str(value)) for name, value in params.items()]
        self.client.log_batch(self.run_id, params=[p for p in new if p.key not in there])

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Write tags in one call; a later value replaces an earlier."""
        self.client.log_batch(self.run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def log_metrics(self, figures: Mapping[str, float], step: int) -> None:
        """Write one step's points in one call, but for those that the run already holds."""
        now = int(time.time() * 1000)
        new = {name: value for name, value in figures.items() if (name, step) not in self.seen}
        if new:
            points = [Metric(name, value, now, step) for name, value in new.items()]
            self.client.log_batch(self.run_id, metrics=points)

    def log_epoch(self, epoch: Mapping[str, float]) -> None:
        """Write one epoch's figures at step `epoch`."""
        figures = {EPOCH_METRICS.get(k, k): v for k, v in epoch.items() if k != "epoch"}
        self.log_metrics(figures, int(epoch["epoch"]))

    def log_dataset(self, name: str, source: str, digest: str) -> None:
        """Record which images were used as the run's input."""
        kind = "code" if source == "synthetic" else "http" if "://" in source else "local"
        origin = json.dumps({"url" if kind == "http" else "uri": source})
        dataset = Dataset(name.split(":")[0], digest[:36], kind, origin)  # 36: MLflow's limit
        tags = [InputTag("mlflow.data.context", "training")]
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

    def log_folder(self, folder: Path) -> None:
        """Upload every file of a folder as an artifact; a later file replaces one of its name."""
        self.client.log_artifacts(self.run_id, str(folder))

    def log_model(self, model: Any, example: NDArray[np.uint8]) -> None:
        """Upload a Keras model, with its signature and an input example (n, size, size, 3)."""
        import mlflow.tensorflow  # brings Keras with it, which the drivers do without

        signature = infer_signature(example, model.predict(example, verbose=0))
        # named, for MLflow would find them out by loading the model in another process
        pins = [f"{name}=={version(name)}" for name in ("tensorflow", "keras", "numpy")]
        mlflow.tensorflow.log_model(
            model, name="model", signature=signature, input_example=example, pip_requirements=pins
        )


@dataclass(frozen=True)
class Place:
    """Where a run belongs and how it is found again."""

    dataset: str
    name: str
    fingerprint: str
    parent: str | None = None  # run id


@contextlib.contextmanager
def open_run(client: MlflowClient, place: Place, *, resumable: bool) -> Iterator[RunLog]:
    """A run to write to, with system metrics: the interrupted one, `mlflow run`'s, or a new one.

    It ends FINISHED, FAILED with the reason as a tag, or KILLED, in which case it is resumed later
    unless it was pruned: that is for good, and the tag `pruned` says why.

    Args:
        client: of the server.
        place: of the run.
        resumable: whether this machine has the training state of an interrupted run.
    """
    run_id = _run_to_use(client, place, resumable)
    seen = _points_of(client, run_id) if run_id is not None else frozenset()
    run = mlflow.start_run(
        run_id=run_id,
        experiment_id=None if run_id else experiment_id(client, place.dataset),
        run_name=place.name,
        parent_run_id=None if run_id else place.parent,
        tags={"fingerprint": place.fingerprint},
        log_system_metrics=True,
    )
    status = "FAILED"
    try:
        yield RunLog(client, run.info.run_id, seen)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except Pruned as error:
        status = "KILLED"
        client.set_tag(run.info.run_id, "pruned", str(error)[:500])
        _give_up(client, run.info.run_id, "pruned")
        raise
    except BaseException as error:
        reason = (str(error).splitlines() or [""])[0]
        _give_up(client, run.info.run_id, f"{type(error).__name__}: {reason}"[:500])
        raise
    finally:
        mlflow.end_run(status)


def is_settled(client: MlflowClient, study: str) -> bool:
    """Whether the parent run of a study is there and ended well."""
    return any(run.info.status == "FINISHED" for run in search(client, f"tags.study = '{study}'"))


def parent_run_id(client: MlflowClient, dataset: str, study: str, params: Mapping[str, Any]) -> str:
    """The run under which a study's trials stand, made if need be."""
    found = search(client, f"tags.study = '{study}'")
    if found:
        run_id = found[0].info.run_id
        client.update_run(run_id, status="RUNNING")
    else:
        tags = {"study": study, "dataset": dataset, "code_version": code_version()}
        place = experiment_id(client, dataset)
        run_id = client.create_run(place, tags=tags, run_name=study).info.run_id
    RunLog(client, run_id, frozenset()).log_params(params)
    return str(run_id)


@contextlib.contextmanager
def parent_run(client: MlflowClient, run_id: str) -> Iterator[None]:
    """End a parent run when the block does: FINISHED, FAILED if an error comes out, or KILLED."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, status)


def settle(client: MlflowClient, parent: str, alive: Collection[str]) -> None:
    """End the runs under a parent that a dead process left RUNNING; they may be resumed.

    Args:
        client: of the server.
        parent: run id.
        alive: the fingerprints of those that are in training.
    """
    query = f"tags.mlflow.parentRunId = '{parent}' and attributes.status = 'RUNNING'"
    for run in search(client, query):
        if run.data.tags.get("fingerprint") not in alive and "finished" not in run.data.tags:
            client.set_terminated(run.info.run_id, "KILLED")


def wait_for_server(seconds: float) -> MlflowClient:
    """A client, as soon as the server answers.

    Raises:
        TrackingError: it did not for so many seconds.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return connect()
        except TrackingError:
            if time.monotonic() > end:
                raise
        time.sleep(5)


def is_running(client: MlflowClient, run_id: str) -> bool:
    """Whether a run is there and has not ended."""
    try:
        run = client.get_run(run_id)
    except MlflowException:
        return False
    return run.info.status == "RUNNING" and run.info.lifecycle_stage == "active"


def epochs_begun(client: MlflowClient, fingerprint: str) -> int:
    """The epochs that the record holds of a config's run under way; 0 if there is none."""
    return max(
        (len(curve(client, run, "val_loss")) for run in find_begun(client, fingerprint)), default=0
    )


def find_begun(client: MlflowClient, fingerprint: str) -> list[str]:
    """The ids of a config's runs that were begun and neither completed nor given up."""
    runs = search(client, f"tags.fingerprint = '{fingerprint}'")
    return [run.info.run_id for run in runs if not {"finished", "given_up"} & set(run.data.tags)]


def _run_to_use(client: MlflowClient, place: Place, resumable: bool) -> str | None:
    opened = os.environ.get("MLFLOW_RUN_ID")  # by `mlflow run`
    begun = find_begun(client, place.fingerprint)
    keep = opened or (begun[-1] if begun and resumable else None)
    for run_id in begun:
        if run_id != keep:
            _give_up(client, run_id, "trained in another run")
            client.set_terminated(run_id, "KILLED")
    return keep


def _give_up(client: MlflowClient, run_id: str, reason: str) -> None:
    client.set_tag(run_id, "given_up", reason)


def _points_of(client: MlflowClient, run_id: str) -> frozenset[tuple[str, int]]:
    names = [n for n in client.get_run(run_id).data.metrics if not n.startswith("system/")]
    points = [(n, m.step) for n in names for m in client.get_metric_history(run_id, n)]
    return frozenset(points)
