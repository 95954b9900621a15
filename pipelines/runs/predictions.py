"""The predictions that runs keep of their test images, as counts by group; read from MLflow."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.artifacts
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipelines.runs.finished import FinishedRun
from study.statistics.predictions import counted
from study.statistics.predictions import PREDICTIONS
from study.statistics.predictions import Tested

AT_ONCE = 8  # downloads; a server answers several as fast as one


def read_tested(runs: Sequence[FinishedRun]) -> dict[str, Tested]:
    """What each run, by its ID, got right; without the runs whose predictions cannot be had."""
    shared: dict[bytes, NDArray[Any]] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = zip(runs, pool.map(partial(_tested, shared), runs), strict=True)
        return {run.run_id: tested for run, tested in found if tested is not None}


def _tested(shared: dict[bytes, NDArray[Any]], run: FinishedRun) -> Tested | None:
    try:
        with artifact(run, PREDICTIONS) as path:
            table = pq.read_table(path)
        tested = counted(table)
    except (MlflowException, OSError, pa.ArrowInvalid, KeyError, ValueError):
        return None
    if abs(tested.accuracy - run.metrics.get("test_accuracy", np.nan)) > 1e-4:
        return None  # of another training than the figures
    return dataclasses.replace(
        tested, groups=_once(shared, tested.groups), tested=_once(shared, tested.tested)
    )


def _once(shared: dict[bytes, NDArray[Any]], array: NDArray[Any]) -> NDArray[Any]:
    return shared.setdefault(hashlib.sha256(array.tobytes()).digest(), array)


@contextmanager
def artifact(run: FinishedRun, name: str) -> Iterator[Path]:
    """One of the run's files, on this machine while the block runs.

    Raises:
        MlflowException, OSError: it is not there, or cannot be fetched.
    """
    with tempfile.TemporaryDirectory() as folder:
        uri = f"{run.artifact_uri.rstrip('/')}/{name}"
        local = Path(uri.removeprefix("file://"))
        if "://" not in uri.removeprefix("file://"):
            yield local  # not through MLflow, which takes longer for it than to read it
        else:
            yield Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder))
