"""Parse what a finished run logged.

`study/tracking/run_logger.py` logs what a run must hold: every config field as a param, the tags
`finished`, `fingerprint`, `data_digest`, `weights_kind`, `sizes` and `leak`, and the final metrics.
"""

import dataclasses
import re
from dataclasses import dataclass

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from study.common.errors import StudyError
from study.config.dataset_names import read_name_digest
from study.config.trial_config import parse_value
from study.config.trial_config import TrialConfig
from study.tracking.queries import list_missing_figures
from study.tracking.run_logger import strip_shell_quotes


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
    def part_sizes(self) -> tuple[int, int, int] | None:
        """Return the numbers of images in train, val and test, or None if they are unknown."""
        counts = self.sizes.split("/")
        if len(counts) != 3 or not all(count.isdigit() for count in counts):
            return None
        return int(counts[0]), int(counts[1]), int(counts[2])

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


def _parse_counts(text: str) -> tuple[int, int] | None:
    counts = text.split("/")
    is_known = len(counts) == 2 and all(count.isdigit() for count in counts)
    return (int(counts[0]), int(counts[1])) if is_known else None


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
