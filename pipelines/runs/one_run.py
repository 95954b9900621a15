"""Read one finished run by its ID."""

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipelines.runs.finished import FinishedRun
from pipelines.runs.finished import NoRunsError
from pipelines.runs.finished import parse_run
from study.common.errors import StudyError
from study.common.settings import tracking_uri
from study.tracking.failures import mlflow_errors_as_study_errors
from study.tracking.failures import redact_credentials


@mlflow_errors_as_study_errors()
def read_run(client: MlflowClient, run_id: str) -> FinishedRun:
    """Read one finished run.

    Raises:
        TrackingError: MLflow cannot be read.
        NoRunsError: there is no such run, or it is not one of a finished trial.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        where = redact_credentials(tracking_uri())
        raise NoRunsError(f"no run {run_id} in {where}: copy its ID from the MLflow UI") from None
    _check_finished_trial(run)
    try:
        return parse_run(run)
    except StudyError as error:
        raise NoRunsError(f"run {run_id} cannot be used: {error}") from error


def _check_finished_trial(run: Run) -> None:
    """Raise an error, with advice, if a run is not one of a finished trial."""
    run_id = run.info.run_id
    status = run.info.status
    tags = run.data.tags
    if run.info.lifecycle_stage != "active":
        raise NoRunsError(f"run {run_id} is deleted: restore it, or name another")
    if "study" in tags:
        raise NoRunsError(f"run {run_id} stands for a whole study: name one of the runs below it")
    # `mlflow run` leaves such a run behind where a finished run has the same config.
    if "same_as" in tags:
        other = tags["same_as"]
        raise NoRunsError(
            f"run {run_id} is empty, because its config was finished already: name run {other}"
        )
    if tags.get("finished") != "true" or status != "FINISHED":
        raise NoRunsError(f"run {run_id} is not a finished trial ({status}): name a finished one")
