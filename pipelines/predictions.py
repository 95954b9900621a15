"""The predictions that runs keep of their test images, as counts by group; read from MLflow."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.artifacts
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipelines.runs import FinishedRun

FILE = "predictions.parquet"
AT_ONCE = 8  # downloads; a server answers several as fast as one


@dataclass(frozen=True)
class Tested:
    """One run's test images: how many of each group it was asked, and how many it got right.

    `groups` has the names, in order; single images stand for groups where none are known. Runs of
    one test set share the array.
    """

    groups: NDArray[np.str_]
    right: NDArray[np.int32]
    tested: NDArray[np.int32]
    grouped: bool  # whether the groups are known

    @property
    def accuracy(self) -> float:
        """Of the test images, 0 to 1."""
        return float(self.right.sum() / self.tested.sum())


def read_tested(runs: Sequence[FinishedRun]) -> dict[str, Tested]:
    """What each run, by its ID, got right; without the runs whose predictions cannot be had."""
    shared: dict[bytes, NDArray[Any]] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = zip(runs, pool.map(partial(_tested, shared), runs), strict=True)
        return {run.run_id: tested for run, tested in found if tested is not None}


def _tested(shared: dict[bytes, NDArray[Any]], run: FinishedRun) -> Tested | None:
    try:
        with artifact(run, FILE) as path:
            table = pq.read_table(path)
        tested = counted(table.filter(pc.equal(table["split"], "test")))
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


def counted(table: pa.Table) -> Tested:
    """Test images by group.

    Args:
        table: columns image, label, perhaps group, and `p_<class>` for each class.
    """
    names = [name for name in table.column_names if name.startswith("p_")]
    values = np.column_stack([table[name].to_numpy() for name in names])
    labels = pc.index_in(table["label"], pa.array([name[2:] for name in names])).to_numpy()
    right = values.argmax(axis=1) == labels
    grouped = "group" in table.column_names and table["group"].null_count == 0
    keys = table["group" if grouped else "image"].to_numpy(zero_copy_only=False).astype(np.str_)
    groups, index = np.unique(keys, return_inverse=True)
    count = len(groups)
    return Tested(
        groups,
        np.bincount(index, weights=right, minlength=count).astype(np.int32),
        np.bincount(index, minlength=count).astype(np.int32),
        grouped,
    )
