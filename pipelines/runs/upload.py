"""Tables and reports into MLflow, as artifacts of the studies that they are about."""

import sys
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

from mlflow.tracking import MlflowClient

from pipelines.runs.finished import FinishedRun
from study.tracking.connection import reason

FOLDER = "report"  # among the artifacts of a parent run


def upload(client: MlflowClient, runs: Iterable[FinishedRun], files: Sequence[Path]) -> list[str]:
    """Put files into the parent runs of these runs, in place of those of the same names there.

    If one cannot be written, a warning says so, and nothing else happens.

    Returns:
        The ids of the parents that have them now; none if no run was trained in a study.
    """
    parents = sorted({run.parent for run in runs} - {""})
    return [parent for parent in parents if _written(client, parent, files)]


def _written(client: MlflowClient, parent: str, files: Sequence[Path]) -> bool:
    try:
        for file in files:
            client.log_artifact(parent, str(file), FOLDER)
    except Exception as error:  # whatever the store, or what it keeps files in, raises
        print(
            f"warning: the files are not in MLflow's run {parent}: {reason(error)}", file=sys.stderr
        )
        return False
    return True
