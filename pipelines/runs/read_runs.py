"""Read the finished runs of a data set from MLflow, one for each fingerprint.

Nothing is written, and neither images nor weights are needed. Where the images of a `folder:PATH`
are at hand, their digest finds the runs on them that were trained under another path.
"""

import dataclasses
import shlex
import sys
from collections.abc import Iterator
from collections.abc import Sequence

from mlflow.entities import Run
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipelines.runs.database import check_database
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.finished_run import NoRunsError
from pipelines.runs.finished_run import parse_run
from study.common.errors import ConfigError
from study.common.errors import DataError
from study.common.errors import TrackingError
from study.common.folder_names import FOLDER_PREFIX
from study.common.folder_names import is_folder_name
from study.common.paths import resolve_folder
from study.common.settings import tracking_uri
from study.config.trial_config import RECIPES
from study.data.prepare import list_recorded_digests
from study.tracking.connection import connect
from study.tracking.failures import redact_credentials

PAGE = 200  # runs per request, small enough for one answer to take well under a second
COMPLETE = "tags.finished = 'true' and attributes.status = 'FINISHED'"


def read_runs(dataset: str, experiment: str | None = None) -> list[FinishedRun]:
    """Read the finished runs of a data set, sorted by start time.

    Of runs with the same fingerprint, only the earliest is kept.

    Args:
        dataset: `chest`, `blood`, `demo`, or `folder:PATH`, which is the data set of all runs
            returned, although some may have been trained under another path.
        experiment: the name of the active experiment to look through, or None for all of them.

    Raises:
        TrackingError: MLflow cannot be read, or has no such experiment.
        NoRunsError: MLflow holds no finished run of the data set.
    """
    client = connect_reader()
    uri = tracking_uri()
    try:
        logged_runs = list(_search_runs(client, find_experiment_ids(client, experiment), dataset))
    except MlflowException as error:
        reason = str(error).splitlines()[0].replace(uri, redact_credentials(uri))[:200]
        raise TrackingError(
            f"cannot read runs from {redact_credentials(uri)}: {reason}\n"
            "start that MLflow server, or set MLFLOW_TRACKING_URI to the one that has the runs"
        ) from error
    runs = _keep_first_by_fingerprint(
        run for run in map(_parse_or_warn, logged_runs) if run is not None
    )
    if is_folder_name(dataset):
        runs = _select_folder(runs, dataset)
    if not runs:
        raise NoRunsError(_explain_no_runs(dataset, experiment))
    return runs


def _explain_no_runs(dataset: str, experiment: str | None) -> str:
    address = redact_credentials(tracking_uri())
    where = f"experiment {experiment!r} of {address}" if experiment else address
    return (
        f"no finished run of {dataset} in {where}\n"
        f"train some with `python -m study.grid --dataset {shlex.quote(dataset)}`, "
        "or set MLFLOW_TRACKING_URI to the database or server that has them"
    )


def connect_reader() -> MlflowClient:
    """Connect to the store that the settings name.

    Raises:
        TrackingError: the store does not answer, or its database holds no MLflow store.
    """
    check_database(tracking_uri())
    return connect()


def find_experiment_ids(client: MlflowClient, name: str | None) -> list[str]:
    """Return the ID of an active experiment, or those of all for None.

    Raises:
        TrackingError: there is no such experiment.
    """
    ids_by_name: dict[str, str] = {}
    token: str | None = None
    while token is None or token:
        page = client.search_experiments(view_type=ViewType.ACTIVE_ONLY, page_token=token)
        ids_by_name |= {experiment.name: experiment.experiment_id for experiment in page}
        token = page.token or ""
    if name is None:
        return list(ids_by_name.values())
    if name not in ids_by_name:
        known_names = ", ".join(sorted(ids_by_name)[:8]) or "none"
        raise TrackingError(f"no active experiment {name!r}; there are: {known_names}")
    return [ids_by_name[name]]


def _search_runs(client: MlflowClient, experiment_ids: list[str], dataset: str) -> Iterator[Run]:
    # The server returns the runs of all folders, because a path may be spelled in many ways.
    # `read_runs` then compares images and folders. `mlflow run` logs some of the paths in quotes.
    condition = f"= '{dataset}'" if dataset in RECIPES else f"LIKE '%{FOLDER_PREFIX}%'"
    query = f"{COMPLETE} and params.dataset {condition}"
    token: str | None = None
    while experiment_ids and (token is None or token):
        page = client.search_runs(
            experiment_ids, query, ViewType.ACTIVE_ONLY, max_results=PAGE, page_token=token
        )
        yield from page
        token = page.token or ""


def _select_folder(runs: Sequence[FinishedRun], dataset: str) -> list[FinishedRun]:
    """Select the runs on the images of a folder, all with `dataset` as their data set.

    These are the runs on equal images, wherever they lay, and those that named the same path.
    """
    folder = resolve_folder(dataset)
    digests = _compute_digests(dataset)
    return [
        dataclasses.replace(run, config=run.config.replace(dataset=dataset))
        for run in runs
        if run.data_digest in digests or resolve_folder(run.config.dataset) == folder
    ]


def _compute_digests(dataset: str) -> set[str]:
    """Return the digests of a folder's images, or none if they are not here."""
    try:
        return list_recorded_digests(dataset)
    except DataError:
        return set()


def _parse_or_warn(run: Run) -> FinishedRun | None:
    """Parse a run, or print a warning and return None."""
    try:
        return parse_run(run)
    except (ConfigError, NoRunsError) as error:
        print(f"warning: run {run.info.run_id} is left out: {error}", file=sys.stderr)
        return None


def _keep_first_by_fingerprint(runs: Iterator[FinishedRun]) -> list[FinishedRun]:
    runs_by_fingerprint: dict[str, FinishedRun] = {}
    for run in sorted(runs, key=lambda run: (run.started, run.run_id)):
        runs_by_fingerprint.setdefault(run.fingerprint, run)
    return list(runs_by_fingerprint.values())
