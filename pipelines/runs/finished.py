"""Finished runs as MLflow holds them, one per fingerprint. Reads only; needs no image, no weights.

What a run must hold is written by `study/tracking/run_logger.py`: every config field as a param,
the tags `finished`, `fingerprint`, `data_digest`, `weights_kind`, `sizes` and `leak`, and final
metrics.
"""

import dataclasses
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipelines.runs.database import check_database
from study.common.errors import ConfigError
from study.common.errors import StudyError
from study.common.errors import TrackingError
from study.common.settings import tracking_uri
from study.config import parse_value
from study.config import RECIPES
from study.config import TrialConfig
from study.tracking.connection import connect
from study.tracking.connection import shown

PAGE = 200  # runs per request, small enough for one answer to take well under a second
COMPLETE = "tags.finished = 'true' and attributes.status = 'FINISHED'"


class NoRunsError(StudyError):
    """There is nothing to make a table of."""


@dataclass(frozen=True)
class FinishedRun:
    """One complete run: its config, and what it logged.

    `config.weights` is `imagenet` or `none`: the file that a run started from stays on the machine
    that trained it. `weights_kind`, `weights_file` (a name without folder), `weights_digest` (over
    its tensors) and `weights_published` (how many of them are the published ones) tell of it.
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
    leak: str  # test images with a sibling in train, of all: `812/1168`, or `unknown`
    metrics: dict[str, float]
    weights_digest: str = ""  # SHA-256; not of published or random ones
    weights_published: str = ""  # tensors that equal the published ones, of all: `134/135`
    role: str = ""  # `search` or `confirm`, of a search's runs
    parent: str = ""  # run id, of the study it was trained in

    @property
    def leaking(self) -> tuple[int, int] | None:
        """Test images with a sibling in train, and all test images; None if that is unknown."""
        counts = self.leak.split("/")
        known = len(counts) == 2 and all(count.isdigit() for count in counts)
        return (int(counts[0]), int(counts[1])) if known else None


def read_runs(dataset: str, experiment: str | None = None) -> list[FinishedRun]:
    """The finished runs of a data set, the earliest of each fingerprint, by start time.

    Looks through all active experiments, or the one named.

    Raises:
        TrackingError: MLflow cannot be read, or has no such experiment.
        NoRunsError: it holds no finished run of the data set.
    """
    client, uri = reader(), tracking_uri()
    try:
        found = list(_search(client, _experiment_ids(client, experiment), dataset))
    except MlflowException as error:
        reason = str(error).splitlines()[0].replace(uri, shown(uri))[:200]
        raise TrackingError(
            f"cannot read runs from {shown(uri)}: {reason}\n"
            "start that MLflow server, or set MLFLOW_TRACKING_URI to the one that has the runs"
        ) from error
    runs = _first_of_each(run for run in map(_parse, found) if run is not None)
    runs = [run for run in runs if _same_dataset(run.config.dataset, dataset)]
    if not runs:
        where = f"experiment {experiment!r} of {shown(uri)}" if experiment else shown(uri)
        raise NoRunsError(
            f"no finished run of {dataset} in {where}\n"
            f"make some with `python -m study.grid --dataset {dataset}`, "
            "or set MLFLOW_TRACKING_URI to where they are"
        )
    return runs


def reader() -> MlflowClient:
    """A client of the store that the settings name.

    Raises:
        TrackingError: it does not answer, or is a database without runs.
    """
    check_database(tracking_uri())
    return connect()


def _experiment_ids(client: MlflowClient, name: str | None) -> list[str]:
    names: dict[str, str] = {}
    token: str | None = None
    while token is None or token:
        page = client.search_experiments(view_type=ViewType.ACTIVE_ONLY, page_token=token)
        names |= {found.name: found.experiment_id for found in page}
        token = page.token or ""
    if name is None:
        return list(names.values())
    if name not in names:
        known = ", ".join(sorted(names)[:8]) or "none"
        raise TrackingError(f"no active experiment {name!r}; there are: {known}")
    return [names[name]]


def _search(client: MlflowClient, experiment_ids: list[str], dataset: str) -> Iterator[Run]:
    # Folders are compared here, not by the server: a path may be spelled in many ways.
    match = f"= '{dataset}'" if dataset in RECIPES else "LIKE 'folder:%'"
    query = f"{COMPLETE} and params.dataset {match}"
    token: str | None = None
    while experiment_ids and (token is None or token):
        page = client.search_runs(
            experiment_ids, query, ViewType.ACTIVE_ONLY, max_results=PAGE, page_token=token
        )
        yield from page
        token = page.token or ""


def _same_dataset(logged: str, asked: str) -> bool:
    if logged == asked or not asked.startswith("folder:"):
        return logged == asked
    return folder_path(logged) == folder_path(asked)


def folder_path(dataset: str) -> Path:
    """The folder that `folder:PATH` names, made absolute."""
    return Path(dataset.removeprefix("folder:")).expanduser().resolve()


def _parse(run: Run) -> FinishedRun | None:
    try:
        return finished_run(run)
    except (ConfigError, KeyError) as error:
        print(f"warning: run {run.info.run_id} is left out: {error}", file=sys.stderr)
        return None


def finished_run(run: Run) -> FinishedRun:
    """What a complete run logged.

    Raises:
        ConfigError: a param is no value of its field here.
        KeyError: a param is missing.
    """
    params, tags = dict(run.data.params), run.data.tags
    config = _config(params)
    kind = tags.get("weights_kind", "unknown")
    from_file = kind not in ("imagenet", "none")
    return FinishedRun(
        run_id=run.info.run_id,
        artifact_uri=run.info.artifact_uri,
        started=run.info.start_time,
        config=config,
        weights_kind=kind,
        weights_file=_name(params["weights"]) if from_file else "",
        data_digest=tags.get("data_digest", ""),
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


def _name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _config(params: dict[str, str]) -> TrialConfig:
    # a run from before a field was added lacks it, and had what is now its default
    names = {spec.name for spec in dataclasses.fields(TrialConfig)} & params.keys()
    values = {name: parse_value(name, params[name]) for name in names}
    if values.get("weights") != "none":
        values["weights"] = "imagenet"  # a file's path would be looked up on this machine
    return TrialConfig(**values)


def _first_of_each(runs: Iterator[FinishedRun]) -> list[FinishedRun]:
    first: dict[str, FinishedRun] = {}
    for run in sorted(runs, key=lambda run: (run.started, run.run_id)):
        first.setdefault(run.fingerprint, run)
    return list(first.values())
