"""Take over the run that `mlflow run` opened for this command, and no other.

`mlflow run` names its run in `MLFLOW_RUN_ID`. The variable may also be left over from an earlier
job, or be meant for another program. Then the run that it names must stay as it is.
"""

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME

from study.common.errors import TrackingRefused
from study.common.folder_names import is_folder_name
from study.common.folder_names import make_folder_name
from study.common.settings import read_setting
from study.common.settings import tracking_uri
from study.config.trial_config import RECIPES
from study.config.trial_config import TrialConfig
from study.tracking.failures import mlflow_errors_as_study_errors
from study.tracking.failures import redact_credentials
from study.tracking.run_logger import has_param_value
from study.tracking.run_logger import strip_shell_quotes
from study.tracking.ui_links import NOTE_TAG

GRID_ENTRY_POINT = "grid"  # its name in the file MLproject
ROOT = Path(__file__).parents[2]  # of this checkout
# A fresh run has none of these: each is written by a trial or a study.
TRIAL_TAGS = {"finished", "fingerprint", "given_up", "same_as", "study"}


@mlflow_errors_as_study_errors()
def take_project_run(client: MlflowClient, config: TrialConfig) -> str | None:
    """Return the id of the run that `mlflow run` opened for this command, or None.

    Nothing is written to the run. `MLFLOW_RUN_ID` is removed, so that nobody else takes it.

    Raises:
        TrackingRefused: `MLFLOW_RUN_ID` names any other run.
    """
    return _take_run(client, lambda run: _find_other_param(run, config))


@mlflow_errors_as_study_errors()
def take_grid_run(client: MlflowClient) -> str | None:
    """Return the id of the run that `mlflow run -e grid` opened for this command.

    As with `take_project_run`, nothing is written to it, and `MLFLOW_RUN_ID` is removed.

    Returns:
        None if there is no such run.

    Raises:
        TrackingRefused: `MLFLOW_RUN_ID` names any other run.
    """
    return _take_run(client, _find_other_entry_point)


def _take_run(client: MlflowClient, find_difference: Callable[[Run], str]) -> str | None:
    """Return the id of the run in `MLFLOW_RUN_ID`, or None if there is none.

    Args:
        client: the MLflow client.
        find_difference: returns why a fresh run is not for this command, or `""`.
    """
    run_id = read_setting("MLFLOW_RUN_ID")
    os.environ.pop("MLFLOW_RUN_ID", None)
    if not run_id:
        return None
    run = _fetch_run(client, run_id)
    objection = _find_objection(run) or find_difference(run)
    if objection:
        raise TrackingRefused(
            f"MLFLOW_RUN_ID={run_id} names a run that {objection}: unset MLFLOW_RUN_ID, which only "
            "mlflow run should set"
        )
    return run_id


def _fetch_run(client: MlflowClient, run_id: str) -> Run:
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    uri = tracking_uri()
    if re.match(r"sqlite:///(?!/)", uri):
        raise TrackingRefused(
            f"MLFLOW_RUN_ID={run_id} names no run of {uri}, a file in {Path.cwd()}. For mlflow "
            "run, set MLFLOW_TRACKING_URI to sqlite:/// and the file's whole path; else unset "
            "MLFLOW_RUN_ID."
        )
    raise TrackingRefused(
        f"MLFLOW_RUN_ID={run_id} names no run at {redact_credentials(uri)}: unset MLFLOW_RUN_ID, "
        "which only mlflow run should set"
    )


def _find_objection(run: Run) -> str:
    """Return why a run is not a fresh one of `mlflow run`, or `""`."""
    tags = run.data.tags
    if run.info.lifecycle_stage != "active":
        return "is deleted"
    if run.info.status != "RUNNING":
        return f"is {run.info.status} already"
    if MLFLOW_PROJECT_ENTRY_POINT not in tags:
        return "mlflow run did not open"
    if not _is_of_this_checkout(run):
        return "is of another project, or of another commit"
    if run.data.metrics or TRIAL_TAGS & tags.keys():
        return "was written to already"
    return ""


def _is_of_this_checkout(run: Run) -> bool:
    """Return True if a run has this checkout's commit or, outside Git, its folder."""
    commit = get_git_commit(str(ROOT))
    if commit is not None:
        return bool(run.data.tags.get(MLFLOW_GIT_COMMIT) == commit)
    return Path(run.data.tags.get(MLFLOW_SOURCE_NAME, "")).resolve() == ROOT.resolve()


def _find_other_param(run: Run, config: TrialConfig) -> str:
    """Return an objection to the first param that is not of this config, or `""`.

    `mlflow run` passes each param on as a flag, in which `-` counts as `_`.
    """
    _check_recorded_path(run, config)
    values = dataclasses.asdict(config)
    for name, text in run.data.params.items():
        field = name.replace("-", "_")
        if field != "variant" and not (field in values and has_param_value(field, text, values)):
            return f"has {name}={text}, which is not this config"
    return ""


def _check_recorded_path(run: Run, config: TrialConfig) -> None:
    """Check that a run records its folder as `folder:PATH`.

    A param of a run cannot be changed later.

    Raises:
        TrackingRefused: the run has the path alone.
    """
    path = strip_shell_quotes(run.data.params.get("dataset", "demo"))
    is_path_alone = path not in RECIPES and not is_folder_name(path)
    if is_folder_name(config.dataset) and is_path_alone:
        raise TrackingRefused(
            f"mlflow run has recorded the data set as {path}, by which no table finds the folder: "
            f"write -P dataset={make_folder_name(path)}"
        )


def _find_other_entry_point(run: Run) -> str:
    entry_point = run.data.tags[MLFLOW_PROJECT_ENTRY_POINT]
    return "" if entry_point == GRID_ENTRY_POINT else f"is for the entry point {entry_point}"


@mlflow_errors_as_study_errors()
def point_to_finished_run(client: MlflowClient, project_run: str, finished_run: Run) -> None:
    """Let the empty run of `mlflow run` say which finished run has the figures."""
    note = f"Already finished in run {finished_run.info.run_id}."
    _point_to_run(client, project_run, finished_run, note)


@mlflow_errors_as_study_errors()
def point_to_parent_run(client: MlflowClient, project_run: str, parent_run: Run) -> None:
    """Let the empty run of `mlflow run` say under which run the trials stand."""
    note = f"The trials stand under run {parent_run.info.run_id}."
    _point_to_run(client, project_run, parent_run, note)


def _point_to_run(client: MlflowClient, project_run: str, run: Run, note: str) -> None:
    client.update_run(project_run, name=f"same as {run.info.run_name}")
    client.set_tag(project_run, "same_as", run.info.run_id)
    client.set_tag(project_run, NOTE_TAG, note)
