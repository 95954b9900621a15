"""Register the best run's model, with its card, in the MLflow registry.

The alias `best` names the best model that is registered so far.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
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
from study.config.dataset_names import data_name
from study.config.dataset_names import DIGEST_LENGTH
from study.config.dataset_names import read_name_digest
from study.config.trial_config import TrialConfig
from study.serving.model_card import format_card
from study.statistics.predictions import count_by_group
from study.statistics.predictions import PREDICTIONS_FILE
from study.tracking import queries
from study.tracking.failures import mlflow_errors_as_study_errors
from study.tracking.writer import MODEL
from study.variants import format_command

ALIAS = "best"
CARD = "card.md"  # in the model's folder
# A tag of each version. Models are compared by its value.
SCORE_NAME = "val_accuracy"
DIGEST_TAG = "data_digest"  # of versions: that of the images, without groups
MAX_DESCRIPTION_CHARACTERS = 5000  # characters that MLflow's database takes as a description


@mlflow_errors_as_study_errors()
def register_model(
    client: MlflowClient,
    run_id: str,
    config: TrialConfig,
    chosen: str,
    progress: Progress,
    *,
    name: str | None = None,
) -> None:
    """Put a finished run's model into the registry and move the alias to it.

    A model that is registered already is not registered again. The alias stays where it is if the
    model there has a higher validation accuracy, or was trained or validated on other images.

    Args:
        client: the MLflow client.
        run_id: the id of the run.
        config: the config that the run trained.
        chosen: why this run was chosen, for the card.
        progress: prints what was done.
        name: the model's name. By default, that of the data set.

    Raises:
        StudyError: the run was recorded without its model, or is not recorded yet.
    """
    run, model = _find_run_with_model(client, run_id, config, name)
    model_name = name or data_name(config.dataset, read_name_digest(run.data.tags))
    version = _get_or_create_version(client, model_name, run, model, chosen)
    progress.say(f"model {model_name}, version {version.version}: run {run.info.run_id}")
    if name is None:
        _note_earlier_name(client, version, data_name(config.dataset, ""), progress)
    if _move_alias_if_better(client, version, progress):
        progress.say(f"use it: python -m study.predict --model models:/{model_name}@{ALIAS} FOLDER")


def _note_earlier_name(
    client: MlflowClient, version: ModelVersion, earlier_name: str, progress: Progress
) -> None:
    """Say if models of the same images have the name that earlier code gave them."""
    if version.name == earlier_name:
        return
    digest = version.tags[DIGEST_TAG]
    versions = client.search_model_versions(f"name = '{earlier_name}'")
    if any(earlier.tags.get(DIGEST_TAG) == digest for earlier in versions):
        progress.say(
            f"earlier models of this data set stay under the name {earlier_name}; new ones go "
            f"under {version.name}, because other folders may be called {earlier_name}, too"
        )


def _find_run_with_model(
    client: MlflowClient, run_id: str, config: TrialConfig, name: str | None
) -> tuple[Run, LoggedModel]:
    """Return the run, or another complete run of the same config, that has its model."""
    run = client.get_run(run_id)
    if run.data.tags.get("finished") != "true":
        raise StudyError(
            f"the record of run {run_id} has not arrived at MLflow: deliver it with "
            "python -m study.sync on the machine that trained it, then repeat the command"
        )
    key = run.data.tags["fingerprint"]
    others = queries.search_runs_by_tags(client, {"fingerprint": key, "finished": "true"})
    for candidate in (run, *reversed(others)):
        if (model := _find_model(client, candidate)) is not None:
            return candidate, model
    flags = "--again --register" + (f" --name {name}" if name else "")
    raise StudyError(
        f"the model of run {run_id} was not kept, because it was trained without --log-model; "
        f"train it again with\n{format_command(config)} {flags}"
    )


def _find_model(client: MlflowClient, run: Run) -> LoggedModel | None:
    query = f"source_run_id = '{run.info.run_id}' AND name = '{MODEL}'"
    models = client.search_logged_models([run.info.experiment_id], filter_string=query)
    return next((model for model in models if model.status == LoggedModelStatus.READY), None)


def _get_or_create_version(
    client: MlflowClient, name: str, run: Run, model: LoggedModel, chosen: str
) -> ModelVersion:
    """Return the version of a run's model, which is created if there is none."""
    try:
        client.create_registered_model(name, description="Not a medical device: see each version.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    query = f"name = '{name}' and run_id = '{run.info.run_id}'"
    for version in client.search_model_versions(query):
        return version
    text = _add_card(client, run, model, chosen)
    tags = {
        SCORE_NAME: f"{run.data.metrics['val_accuracy']:.6f}",
        "split": run.data.tags["split"],
        "limit": run.data.params.get("limit", "0"),
        DIGEST_TAG: read_name_digest(run.data.tags),
    }
    return client.create_model_version(
        name,
        model.model_uri,
        run.info.run_id,
        tags=tags,
        description=text[:MAX_DESCRIPTION_CHARACTERS],
        # Nothing is copied, so the version is there at once.
        await_creation_for=0,
        model_id=model.model_id,
    )


def _add_card(client: MlflowClient, run: Run, model: LoggedModel, chosen: str) -> str:
    """Write the card into the model's folder and return its text."""
    signature = get_model_info(model.model_uri).signature
    classes = [column.name for column in signature.outputs.inputs]
    # Imported late: with SciPy it takes a second, and most trials register nothing.
    from study.statistics.intervals import estimate_accuracy

    predictions = read_predictions(run.info.run_id)
    interval = None
    if predictions is not None:
        interval = estimate_accuracy(count_by_group(predictions).counts)
    text = format_card(run, classes, chosen, interval)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, CARD)
        file.write_text(text, encoding="utf-8")
        client.log_model_artifact(model.model_id, str(file))
    return text


def read_predictions(run_id: str) -> pa.Table | None:
    """Read a run's predictions, or return None if there are none to read."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = download_artifacts(
                run_id=run_id, artifact_path=PREDICTIONS_FILE, dst_path=folder
            )
            return pq.read_table(file)
        except (MlflowException, OSError):
            return None


def _move_alias_if_better(client: MlflowClient, version: ModelVersion, progress: Progress) -> bool:
    """Move the alias to a version, unless a better one or one of other images has it.

    Equal digests mean the same images in the same classes.

    Returns:
        True if the version has the alias now.
    """
    holder = client.get_registered_model(version.name).aliases.get(ALIAS)
    if holder is not None and str(holder) != str(version.version):
        holder_tags = client.get_model_version(version.name, str(holder)).tags
        if reason := _explain_why_alias_stays(version.tags, holder_tags):
            progress.say(f"the alias {ALIAS} stays at version {holder}{reason}")
            return False
    client.set_registered_model_alias(version.name, ALIAS, str(version.version))
    return True


def _explain_why_alias_stays(tags: Mapping[str, str], holder_tags: Mapping[str, str]) -> str | None:
    """Return why a version does not get the alias of another one, or None if it does.

    Tags that the holder lacks, as those of earlier code do, count as equal.
    """
    advice = "use another --name, or move the alias in the MLflow UI"
    digest = tags.get(DIGEST_TAG, "")
    holder_digest = holder_tags.get(DIGEST_TAG, digest)
    if holder_digest != digest:
        return (
            f", which was trained on other images (digest {holder_digest[:DIGEST_LENGTH]}, here "
            f"{digest[:DIGEST_LENGTH]}): {advice}"
        )
    # A validation accuracy of a split that leaks, or of a few images, may be too high.
    split = _describe_validation(tags)
    holder_split = _describe_validation({**tags, **holder_tags})
    if holder_split != split:
        return f", which was validated on other images ({holder_split}, here {split}): {advice}"
    # A version that somebody else made and gave the alias has no score, and keeps the alias.
    holder_score = holder_tags.get(SCORE_NAME, "unknown")
    if holder_score == "unknown" or float(tags[SCORE_NAME]) < float(holder_score):
        return f": validation accuracy {holder_score}, here {tags[SCORE_NAME]}"
    return None


def _describe_validation(tags: Mapping[str, str]) -> str:
    limit = tags.get("limit", "0")
    limit_part = "" if limit == "0" else f", limit {limit}"
    return f"split {tags['split']}{limit_part}"
