"""Read finished runs from MLflow, one for each fingerprint.

Nothing is written, and neither images nor weights are needed. Where the images of a `folder:PATH`
are at hand, their digest finds the runs on them that were trained under another path.

`study/tracking/run_logger.py` logs what a run must hold: every config field as a param, the tags
`finished`, `fingerprint`, `data_digest`, `weights_kind`, `sizes` and `leak`, and the final metrics.
"""

import dataclasses
import re
import shlex
import sys
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipelines.runs.database import check_database
from study.common.errors import ConfigError
from study.common.errors import DataError
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.paths import resolve_path
from study.common.settings import tracking_uri
from study.config.names import read_name_digest
from study.config.trial_config import parse_value
from study.config.trial_config import RECIPES
from study.config.trial_config import TrialConfig
from study.data.prepare import recorded_digests
from study.tracking.connection import connect
from study.tracking.failures import redact_credentials
from study.tracking.queries import list_missing_figures
from study.tracking.run_logger import strip_shell_quotes

PAGE = 200  # runs per request, small enough for one answer to take well under a second
COMPLETE = "tags.finished = 'true' and attributes.status = 'FINISHED'"


class NoRunsError(StudyError):
    """Error for a store or a selection with no run to make a table of."""


@dataclass(frozen=True)
class FinishedRun:
    """One complete run, with its config and what it logged.

    `config.weights` is `imagenet` or `none`, because the file that a run started from stays on the
    machine that trained it. Four fields describe this file: `weights_kind`, `weights_file` (its
    name without folder), `weights_digest` (over its tensors) and `weights_published` (how many of
    its tensors equal the published ones).
    """

    run_id: str
    artifact_uri: str
    started: int  # milliseconds since 1970
    config: TrialConfig
    weights_kind: str  # imagenet, none, partial or file
    weights_file: str
    data_digest: str
    protocol_version: str  # runs of different versions are not comparable
    fingerprint: str
    sizes: str  # images in train/val/test
    leak: (
        str  # test images with a sibling in train, of all: `812/1168`, `at least 3/80` or `unknown`
    )
    metrics: dict[str, float]
    weights_digest: str = ""  # SHA-256; not of published or random ones
    weights_published: str = ""  # tensors that equal the published ones, of all: `134/135`
    name_digest: str = ""  # of the images without groups
    role: str = ""  # `search` or `confirm`, of a search's runs
    parent: str = ""  # run id, of the study it was trained in

    @property
    def leaking(self) -> tuple[int, int] | None:
        """Return the number of test images with a sibling in train, and of all.

        The result is None if these are unknown.
        """
        return _parse_counts(self.leak)

    @property
    def least_leaking(self) -> tuple[int, int] | None:
        """Return the same numbers, or the least that leak where only that is known."""
        return _parse_counts(self.leak.removeprefix("at least "))


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
        logged_runs = list(_search_runs(client, _find_experiment_ids(client, experiment), dataset))
    except MlflowException as error:
        reason = str(error).splitlines()[0].replace(uri, redact_credentials(uri))[:200]
        raise TrackingError(
            f"cannot read runs from {redact_credentials(uri)}: {reason}\n"
            "start that MLflow server, or set MLFLOW_TRACKING_URI to the one that has the runs"
        ) from error
    runs = _keep_first_by_fingerprint(
        run for run in map(_parse_or_warn, logged_runs) if run is not None
    )
    if dataset.startswith("folder:"):
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


def _find_experiment_ids(client: MlflowClient, name: str | None) -> list[str]:
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
    condition = f"= '{dataset}'" if dataset in RECIPES else "LIKE '%folder:%'"
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
        return recorded_digests(dataset)
    except DataError:
        return set()


def resolve_folder(dataset: str) -> Path:
    """Return the absolute path of the folder that `folder:PATH` names."""
    return resolve_path(dataset.removeprefix("folder:").strip())


def _parse_counts(text: str) -> tuple[int, int] | None:
    counts = text.split("/")
    is_known = len(counts) == 2 and all(count.isdigit() for count in counts)
    return (int(counts[0]), int(counts[1])) if is_known else None


def _parse_or_warn(run: Run) -> FinishedRun | None:
    """Parse a run, or print a warning and return None."""
    try:
        return parse_run(run)
    except (ConfigError, NoRunsError) as error:
        print(f"warning: run {run.info.run_id} is left out: {error}", file=sys.stderr)
        return None


def parse_run(run: Run) -> FinishedRun:
    """Parse what a complete run logged.

    Raises:
        ConfigError: a param is not a valid value of its config field in this version.
        NoRunsError: the run lacks what every finished run has.
    """
    params = {name: strip_shell_quotes(value) for name, value in run.data.params.items()}
    tags = run.data.tags
    missing = [*({"dataset"} - params.keys()), *list_missing_figures(run)]
    if missing:
        raise NoRunsError(f"it has no {' and no '.join(missing)}")
    config = _parse_config(params)
    kind = tags.get("weights_kind", "unknown")
    from_file = kind not in ("imagenet", "none")
    return FinishedRun(
        run_id=run.info.run_id,
        artifact_uri=run.info.artifact_uri,
        started=run.info.start_time,
        config=config,
        weights_kind=kind,
        weights_file=_strip_folder(params.get("weights", "")) if from_file else "",
        data_digest=tags.get("data_digest", ""),
        name_digest=read_name_digest(tags),
        protocol_version=tags.get("protocol_version", "1"),
        fingerprint=tags.get("fingerprint", run.info.run_id),
        sizes=tags.get("sizes", "unknown"),
        leak=tags.get("leak", "unknown"),
        metrics=dict(run.data.metrics),
        weights_digest=tags.get("weights_digest", "") if from_file else "",
        weights_published=tags.get("weights_published", "") if from_file else "",
        role=tags.get("role", ""),
        parent=tags.get(MLFLOW_PARENT_RUN_ID, ""),
    )


def _strip_folder(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _parse_config(params: dict[str, str]) -> TrialConfig:
    # A run older than a field lacks it. What is now the field's default applied to that run.
    names = {spec.name for spec in dataclasses.fields(TrialConfig)} & params.keys()
    values = {name: parse_value(name, params[name]) for name in names}
    if values.get("weights") != "none":
        # A config with a file's path would look the file up on this machine.
        values["weights"] = "imagenet"
    return TrialConfig(**values)


def _keep_first_by_fingerprint(runs: Iterator[FinishedRun]) -> list[FinishedRun]:
    runs_by_fingerprint: dict[str, FinishedRun] = {}
    for run in sorted(runs, key=lambda run: (run.started, run.run_id)):
        runs_by_fingerprint.setdefault(run.fingerprint, run)
    return list(runs_by_fingerprint.values())
