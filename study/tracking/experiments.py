"""Find or create the experiment of a data set."""

import hashlib
from pathlib import Path

from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from study.common.errors import TrackingRefused
from study.common.settings import read_setting
from study.common.settings import tracking_uri
from study.config.names import MAX_EXPERIMENT_LENGTH
from study.config.names import shorten_name
from study.tracking.failures import mlflow_errors_as_study_errors
from study.tracking.failures import redact_credentials


@mlflow_errors_as_study_errors()
def experiment_id(client: MlflowClient, dataset: str) -> str:
    """Return the id of the experiment for a data set's runs, creating it if need be.

    `MLFLOW_EXPERIMENT_ID` or `MLFLOW_EXPERIMENT_NAME` chooses the experiment. Otherwise it has the
    name of the data set, cut to `MAX_EXPERIMENT_LENGTH`.

    Raises:
        TrackingRefused: the experiment is deleted, the two settings contradict each other, or
            there is no experiment of that id.
    """
    chosen_id = read_setting("MLFLOW_EXPERIMENT_ID")
    chosen_name = read_setting("MLFLOW_EXPERIMENT_NAME")
    if chosen_id:
        experiment = _get_experiment(client, chosen_id)
        if chosen_name and experiment.name != chosen_name:
            raise TrackingRefused(
                f"MLFLOW_EXPERIMENT_ID={chosen_id} is the experiment {experiment.name!r}, and not "
                f"MLFLOW_EXPERIMENT_NAME={chosen_name}: unset one of the two"
            )
    else:
        name = chosen_name or shorten_name(dataset, MAX_EXPERIMENT_LENGTH)
        experiment = _get_or_create_experiment(client, name)
    if experiment.lifecycle_stage != "active":
        raise TrackingRefused(
            f"the experiment {experiment.name!r} is deleted: restore it with mlflow experiments "
            f"restore --experiment-id {experiment.experiment_id}, or choose another by "
            "MLFLOW_EXPERIMENT_NAME"
        )
    return str(experiment.experiment_id)


def _get_experiment(client: MlflowClient, chosen_id: str) -> Experiment:
    try:
        return client.get_experiment(chosen_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    raise TrackingRefused(
        f"MLFLOW_EXPERIMENT_ID={chosen_id} names no experiment at "
        f"{redact_credentials(tracking_uri())}: unset it, or choose one by MLFLOW_EXPERIMENT_NAME"
    )


def _get_or_create_experiment(client: MlflowClient, name: str) -> Experiment:
    # Twice, because another process may create it after the look-up and before the creation.
    for _ in range(2):
        if (experiment := client.get_experiment_by_name(name)) is not None:
            return experiment
        try:
            location = _choose_location(name)
            return client.get_experiment(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            problem = error
    raise problem


def _choose_location(experiment: str) -> str | None:
    """Return where a new experiment's files go, or None for MLflow's own choice.

    Beside an SQLite file MLflow takes the path of the working directory for a URL: it decodes `%20`
    and leaves out what follows `#` or `?`. The files would go to another folder.
    """
    folder = Path.cwd() / "mlruns"
    if not tracking_uri().startswith("sqlite:") or not set("%#?") & set(str(folder)):
        return None
    return (folder / hashlib.sha256(experiment.encode()).hexdigest()[:16]).as_uri()
