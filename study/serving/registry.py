"""The best run's model in the MLflow registry, with its card; the alias `best` for the best yet."""

import re
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModel
from mlflow.entities import LoggedModelStatus
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import get_model_info
from mlflow.tracking import MlflowClient

from study.common.errors import StudyError
from study.common.progress import Progress
from study.config import data_name
from study.config import TrialConfig
from study.serving.model_card import card
from study.statistics.intervals import accuracy
from study.statistics.intervals import Estimate
from study.statistics.predictions import counted
from study.statistics.predictions import PREDICTIONS
from study.tracking import queries
from study.tracking.connection import talking
from study.tracking.writer import MODEL
from study.variants import command

ALIAS = "best"
CARD = "card.md"  # in the model's folder
VALUE = "val_accuracy"  # what models are judged by, a tag of each version
LONGEST = 5000  # characters that MLflow's database takes as a description


@talking()
def register(
    client: MlflowClient, run_id: str, config: TrialConfig, chosen: str, progress: Progress
) -> None:
    """Put a finished run's model into the registry, unless it is there; and move the alias to it.

    The alias stays where it is if the model there has a higher validation accuracy.

    Args:
        client: of MLflow.
        run_id: of the run.
        config: that it trained.
        chosen: why this run, for the card.
        progress: where to say what was done.

    Raises:
        StudyError: the run was recorded without its model, or is not recorded yet.
    """
    run, model = _with_model(client, run_id, config)
    name = model_name(config.dataset)
    version = _version(client, name, run, model, chosen)
    progress.say(f"model {name}, version {version.version}: run {run.info.run_id}")
    if _crowned(client, version, progress):
        progress.say(f"use it: python -m study.predict --model models:/{name}@{ALIAS} FOLDER")


def model_name(dataset: str) -> str:
    """What a data set's models are called in the registry: letters, digits, `_` and `-` only."""
    path = dataset.partition(":")[2].strip()
    given = f"folder:{Path(path).expanduser().resolve()}" if path else dataset
    return re.sub(r"[^\w-]+", "-", data_name(given)).strip("-") or "folder"


def _with_model(client: MlflowClient, run_id: str, config: TrialConfig) -> tuple[Run, LoggedModel]:
    """The run, or another complete one of the same config, that has its model."""
    run = client.get_run(run_id)
    if run.data.tags.get("finished") != "true":
        raise StudyError(
            f"the record of run {run_id} has not arrived at MLflow: deliver it with "
            "python -m study.sync on the machine that trained it, then repeat the command"
        )
    key = run.data.tags["fingerprint"]
    others = queries.search(client, f"tags.fingerprint = '{key}' and tags.finished = 'true'")
    for each in (run, *reversed(others)):
        if (model := _model_of(client, each)) is not None:
            return each, model
    raise StudyError(
        f"run {run_id} was trained without --log-model; nothing is lost, train it again with\n"
        f"{command(config)} --again --register"
    )


def _model_of(client: MlflowClient, run: Run) -> LoggedModel | None:
    mine = f"source_run_id = '{run.info.run_id}' AND name = '{MODEL}'"
    found = client.search_logged_models([run.info.experiment_id], filter_string=mine)
    return next((model for model in found if model.status == LoggedModelStatus.READY), None)


def _version(
    client: MlflowClient, name: str, run: Run, model: LoggedModel, chosen: str
) -> ModelVersion:
    """The version that a run's model is, made if need be."""
    try:
        client.create_registered_model(name, description="Not a medical device: see each version.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    query = f"name = '{name}' and run_id = '{run.info.run_id}'"
    for version in client.search_model_versions(query):
        return version
    signature = get_model_info(model.model_uri).signature
    classes = [column.name for column in signature.outputs.inputs]
    text = card(run, classes, chosen, _interval(run))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, CARD)
        file.write_text(text, encoding="utf-8")
        client.log_model_artifact(model.model_id, str(file))
    tags = {VALUE: f"{run.data.metrics['val_accuracy']:.6f}", "split": run.data.tags["split"]}
    tags["data_digest"] = run.data.tags["data_digest"]
    return client.create_model_version(
        name,
        model.model_uri,
        run.info.run_id,
        tags=tags,
        description=text[:LONGEST],
        await_creation_for=0,  # it is there at once: nothing is copied
        model_id=model.model_id,
    )


def _interval(run: Run) -> Estimate | None:
    """Of the test accuracy; None if the run's predictions cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = download_artifacts(
                run_id=run.info.run_id, artifact_path=PREDICTIONS, dst_path=folder
            )
            return accuracy(counted(pq.read_table(file)).counts)
        except (MlflowException, OSError):
            return None


def _crowned(client: MlflowClient, version: ModelVersion, progress: Progress) -> bool:
    """Whether the alias is on a version, where it is moved unless a better one has it."""
    holder = client.get_registered_model(version.name).aliases.get(ALIAS)
    if holder is not None and str(holder) != str(version.version):
        held = client.get_model_version(version.name, str(holder)).tags
        # a version that somebody else made and crowned has no value, and stays
        if not float(version.tags[VALUE]) >= float(held.get(VALUE, "nan")):
            progress.say(
                f"{ALIAS} stays version {holder}: validation accuracy "
                f"{held.get(VALUE, 'unknown')} (split {held.get('split', 'unknown')}), here "
                f"{version.tags[VALUE]} (split {version.tags['split']})"
            )
            return False
    client.set_registered_model_alias(version.name, ALIAS, str(version.version))
    return True
