"""Read one finished run by its ID."""

import re

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.finished_run import NoRunsError
from pipelines.runs.finished_run import parse_run
from study.common.errors import StudyError
from study.common.settings import tracking_uri
from study.tracking import queries
from study.tracking.failures import mlflow_errors_as_study_errors
from study.tracking.failures import redact_credentials

SHORT_ID = re.compile(r"[0-9a-f]{1,31}")  # the beginning of an ID of 32 digits


@mlflow_errors_as_study_errors()
def read_run(client: MlflowClient, run_id: str) -> FinishedRun:
    """Read one finished run.

    Args:
        client: the MLflow client.
        run_id: the run's ID, or the beginning of it.

    Raises:
        TrackingError: MLflow cannot be read.
        NoRunsError: there is no such run, or it is not one of a finished trial.
    """
    run = _find_run_by_prefix(client, run_id) if SHORT_ID.fullmatch(run_id) else None
    if run is None:
        run = _get_run(client, run_id)
    _check_finished_trial(run)
    try:
        return parse_run(run)
    except StudyError as error:
        raise NoRunsError(f"run {run_id} cannot be used: {error}") from error


def _find_run_by_prefix(client: MlflowClient, prefix: str) -> Run | None:
    """Return the run whose ID begins with a prefix, or None if there is none.

    Raises:
        NoRunsError: there are several.
    """
    runs = queries.search_runs(client, f"attributes.run_id LIKE '{prefix}%'")
    if len(runs) > 1:
        examples = " and ".join(run.info.run_id for run in runs[:2])
        raise NoRunsError(
            f"{len(runs)} runs begin with {prefix}, such as {examples}: give more of the ID"
        )
    return runs[0] if runs else None


def _get_run(client: MlflowClient, run_id: str) -> Run:
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        where = redact_credentials(tracking_uri())
        raise NoRunsError(f"no run {run_id} in {where}: copy its ID from the MLflow UI") from None


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
