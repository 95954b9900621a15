"""Write operations to an MLflow run, each in as many requests as it takes."""

import json

from mlflow.entities import Dataset
from mlflow.entities import DatasetInput
from mlflow.entities import InputTag
from mlflow.entities import LoggedModelOutput
from mlflow.entities import LoggedModelStatus
from mlflow.entities import Metric
from mlflow.entities import Param
from mlflow.entities import RunTag
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from study.common.folder_names import drop_folder_path
from study.tracking.operations import Operation

MODEL = "model"  # the name of a logged model in its run


def write_operation(client: MlflowClient, run_id: str, operation: Operation) -> None:
    """Write an operation to a run.

    Raises:
        Exception: whatever MLflow, or what it writes through, raises.
    """
    writers = {
        "batch": _write_batch,
        "dataset": _write_dataset,
        "files": _upload_files,
        "model": _log_model,
        "end": _end_run,
    }
    writers[operation.kind](client, run_id, operation)


def _write_batch(client: MlflowClient, run_id: str, operation: Operation) -> None:
    """Write params, tags and metrics in one request."""
    body = operation.body
    client.log_batch(
        run_id,
        [Metric(*point) for point in body.get("metrics", ())],
        [Param(name, value) for name, value in body.get("params", {}).items()],
        [RunTag(name, value) for name, value in body.get("tags", {}).items()],
    )


def _write_dataset(client: MlflowClient, run_id: str, operation: Operation) -> None:
    """Log a data set as the run's input."""
    name = operation.body["name"]
    source = operation.body["source"]
    digest = operation.body["digest"]
    kind = "code" if source == "synthetic" else "http" if "://" in source else "local"
    origin = json.dumps({"url" if kind == "http" else "uri": source})
    dataset = Dataset(drop_folder_path(name), digest[:36], kind, origin)  # 36: MLflow's limit
    input_tags = [InputTag("mlflow.data.context", "training")]
    client.log_inputs(run_id, [DatasetInput(dataset, input_tags)])


def _upload_files(client: MlflowClient, run_id: str, operation: Operation) -> None:
    """Upload the files of an operation's folder."""
    client.log_artifacts(run_id, str(operation.folder))


def _log_model(client: MlflowClient, run_id: str, operation: Operation) -> None:
    """Log a model that is already saved in the operation's folder.

    Does what MLflow's own `log_model` does, except for the saving. A model that an earlier attempt
    began to log is used again.
    """
    assert operation.folder is not None
    run = client.get_run(run_id)
    experiment = run.info.experiment_id
    query = f"source_run_id = '{run_id}' AND name = '{MODEL}'"
    earlier_models = client.search_logged_models([experiment], filter_string=query)
    logged_model = (
        earlier_models[0]
        if earlier_models
        else client.create_logged_model(experiment, MODEL, run_id)
    )
    output_ids = {output.model_id for output in run.outputs.model_outputs} if run.outputs else set()
    if logged_model.model_id not in output_ids:
        client.log_outputs(run_id, [LoggedModelOutput(logged_model.model_id, step=0)])
    model = Model.load(operation.folder)
    model.run_id = run_id
    model.model_id = logged_model.model_id
    model.artifact_path = logged_model.artifact_location
    model.model_uuid = logged_model.model_id
    model.save(str(operation.folder / "MLmodel"))
    client.log_model_artifacts(logged_model.model_id, str(operation.folder))
    client.finalize_logged_model(logged_model.model_id, LoggedModelStatus.READY)


def _end_run(client: MlflowClient, run_id: str, operation: Operation) -> None:
    """End a run with the operation's status and time."""
    client.set_terminated(run_id, operation.body["status"], operation.body["time"])
