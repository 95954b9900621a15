"""Upload tables and reports to MLflow, as artifacts of their studies."""

import sys
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

from mlflow.tracking import MlflowClient

from pipelines.runs.finished_run import FinishedRun
from study.tracking.failures import describe_error

FOLDER = "report"  # among the artifacts of a parent run


def upload_files(
    client: MlflowClient, runs: Iterable[FinishedRun], files: Sequence[Path]
) -> list[str]:
    """Upload files to the parent runs of these runs.

    Files of the same names are replaced. If a file cannot be written, only a warning is printed,
    and the other parents are still written to.

    Returns:
        The IDs of the parents that have the files now, none if no run was trained in a study.
    """
    parents = sorted({run.parent for run in runs} - {""})
    return [parent for parent in parents if _upload_to_parent(client, parent, files)]


def _upload_to_parent(client: MlflowClient, parent: str, files: Sequence[Path]) -> bool:
    """Upload files to one parent run, or print a warning and return False."""
    try:
        for file in files:
            client.log_artifact(parent, str(file), FOLDER)
    # The store, and the storage in which it keeps files, may raise anything.
    except Exception as error:
        print(
            f"warning: the files are not in MLflow's run {parent}: {describe_error(error)}",
            file=sys.stderr,
        )
        return False
    return True
