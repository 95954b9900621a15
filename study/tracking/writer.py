"""Operations written to an MLflow run, each in the requests that it takes."""

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

from study.tracking.operations import Operation

MODEL = "model"  # its name in the run


def deliver(client: MlflowClient, run_id: str, operation: Operation) -> None:
    """Write an operation to a run.

    Raises:
        Exception: whatever MLflow, or what it writes through, raises.
    """
    write = {"batch": _batch, "dataset": _dataset, "files": _files, "model": _model, "end": _end}
    write[operation.kind](client, run_id, operation)


def _batch(client: MlflowClient, run_id: str, operation: Operation) -> None:
    body = operation.body
    client.log_batch(
        run_id,
        [Metric(*point) for point in body.get("metrics", ())],
        [Param(name, value) for name, value in body.get("params", {}).items()],
        [RunTag(name, value) for name, value in body.get("tags", {}).items()],
    )


def _dataset(client: MlflowClient, run_id: str, operation: Operation) -> None:
    name, source, digest = (operation.body[key] for key in ("name", "source", "digest"))
    kind = "code" if source == "synthetic" else "http" if "://" in source else "local"
    origin = json.dumps({"url" if kind == "http" else "uri": source})
    dataset = Dataset(name.split(":")[0], digest[:36], kind, origin)  # 36: MLflow's limit
    used_for = [InputTag("mlflow.data.context", "training")]
    client.log_inputs(run_id, [DatasetInput(dataset, used_for)])


def _files(client: MlflowClient, run_id: str, operation: Operation) -> None:
    client.log_artifacts(run_id, str(operation.folder))


def _model(client: MlflowClient, run_id: str, operation: Operation) -> None:
    """Log a model saved before: what MLflow's own `log_model` does, but for the saving."""
    assert operation.folder is not None
    run = client.get_run(run_id)
    place = run.info.experiment_id
    mine = f"source_run_id = '{run_id}' AND name = '{MODEL}'"
    begun = client.search_logged_models([place], filter_string=mine)
    logged = begun[0] if begun else client.create_logged_model(place, MODEL, run_id)
    known = {output.model_id for output in run.outputs.model_outputs} if run.outputs else set()
    if logged.model_id not in known:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    described = Model.load(operation.folder)
    described.run_id, described.model_id = run_id, logged.model_id
    described.artifact_path, described.model_uuid = logged.artifact_location, logged.model_id
    described.save(str(operation.folder / "MLmodel"))
    client.log_model_artifacts(logged.model_id, str(operation.folder))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def _end(client: MlflowClient, run_id: str, operation: Operation) -> None:
    client.set_terminated(run_id, operation.body["status"], operation.body["time"])
