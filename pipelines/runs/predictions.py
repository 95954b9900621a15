"""Read runs' predictions from MLflow, as counts of test images by group."""

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
from study.statistics.predictions import count_by_group
from study.statistics.predictions import GroupCounts
from study.statistics.predictions import PREDICTIONS_FILE

PARALLEL_DOWNLOADS = 8  # parallel downloads, because a server answers several as fast as one


def read_group_counts(runs: Sequence[FinishedRun]) -> dict[str, GroupCounts]:
    """Count the test images that each run got right, by run ID.

    Runs are left out if their predictions cannot be read, or do not fit their accuracy.
    """
    arrays: dict[bytes, NDArray[Any]] = {}
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        results = zip(runs, pool.map(partial(_count_test_images, arrays), runs), strict=True)
        return {run.run_id: tested for run, tested in results if tested is not None}


def _count_test_images(arrays: dict[bytes, NDArray[Any]], run: FinishedRun) -> GroupCounts | None:
    """Count the test images of one run, or return None if they cannot be had."""
    try:
        with open_artifact(run, PREDICTIONS_FILE) as path:
            table = pq.read_table(path)
        tested = count_by_group(table)
    except (MlflowException, OSError, pa.ArrowInvalid, KeyError, ValueError):
        return None
    if abs(tested.accuracy - run.metrics.get("test_accuracy", np.nan)) > 1e-4:
        # The predictions are of another training than the run's metrics.
        return None
    return dataclasses.replace(
        tested,
        groups=_share_array(arrays, tested.groups),
        tested=_share_array(arrays, tested.tested),
    )


def _share_array(arrays: dict[bytes, NDArray[Any]], array: NDArray[Any]) -> NDArray[Any]:
    """Return the first array with the same bytes: equal arrays share their memory."""
    return arrays.setdefault(hashlib.sha256(array.tobytes()).digest(), array)


@contextmanager
def open_artifact(run: FinishedRun, name: str) -> Iterator[Path]:
    """Yield the path of one of the run's files, on this machine, for a `with` block.

    Raises:
        MlflowException, OSError: the file does not exist, or cannot be fetched.
    """
    with tempfile.TemporaryDirectory() as folder:
        uri = f"{run.artifact_uri.rstrip('/')}/{name}"
        local = Path(uri.removeprefix("file://"))
        if "://" not in uri.removeprefix("file://"):
            # A local file is opened in place: MLflow takes longer to hand it out than to read it.
            yield local
        else:
            yield Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder))
