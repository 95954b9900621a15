"""Read runs' predictions of their test images from MLflow."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.artifacts
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import get_local_path_or_none
from numpy.typing import NDArray

from pipelines.runs.finished_run import FinishedRun
from study.statistics.predictions import count_by_group
from study.statistics.predictions import GroupCounts
from study.statistics.predictions import PREDICTIONS_FILE

PARALLEL_DOWNLOADS = 8  # because a server answers several as fast as one
# Why a run has no predictions
NOT_FOUND = "not found among the artifacts"
UNREADABLE = "unreadable"
OF_ANOTHER = "not matching the run's accuracy"  # of another training


@dataclass(frozen=True)
class Answers:
    """A model's predictions for some test images."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]  # (n,)
    probabilities: NDArray[np.float64]  # (n, classes)


@dataclass(frozen=True)
class Predictions:
    """The predictions of some runs for their test images, by run ID.

    counts: the test images by group. A run whose predictions cannot be had is not among them.
    answers: the predictions themselves, of the runs in `counts`, if they were asked for.
    problems: why a run is not in `counts`, as one of the constants of this module.
    """

    counts: dict[str, GroupCounts] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


class _Unusable(Exception):
    """Predictions that cannot be used, with the reason."""


def read_predictions(runs: Sequence[FinishedRun], *, with_answers: bool = False) -> Predictions:
    """Read the predictions of each run once.

    Args:
        runs: whose predictions to read.
        with_answers: whether to keep the predictions themselves, which take much memory.
    """
    predictions = Predictions()
    arrays: dict[bytes, NDArray[Any]] = {}
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        results = pool.map(partial(_read_or_explain, with_answers=with_answers), runs)
        for run, result in zip(runs, results, strict=True):
            if isinstance(result, _Unusable):
                predictions.problems[run.run_id] = str(result)
                continue
            counts, answers = result
            predictions.counts[run.run_id] = _share_arrays(counts, arrays)
            if answers is not None:
                predictions.answers[run.run_id] = answers
    return predictions


def _read_or_explain(
    run: FinishedRun, *, with_answers: bool
) -> tuple[GroupCounts, Answers | None] | _Unusable:
    """Read the predictions of a run, or return the reason why they cannot be used."""
    try:
        table = _read_table(run)
        counts = _count(table, run)
    except _Unusable as problem:
        return problem
    return counts, _extract_answers(table) if with_answers else None


def _read_table(run: FinishedRun) -> pa.Table:
    """Read the rows of a run's predictions that are about test images."""
    try:
        with open_artifact(run, PREDICTIONS_FILE) as path:
            table = pq.read_table(path)
        return table.filter(pc.equal(table["split"], "test"))
    except (pa.ArrowInvalid, KeyError) as error:
        raise _Unusable(UNREADABLE) from error
    except (MlflowException, OSError) as error:
        raise _Unusable(NOT_FOUND) from error


def _count(table: pa.Table, run: FinishedRun) -> GroupCounts:
    try:
        counts = count_by_group(table)
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise _Unusable(UNREADABLE) from error
    if not abs(counts.accuracy - run.metrics["test_accuracy"]) <= 1e-4:
        raise _Unusable(OF_ANOTHER)
    return counts


def _extract_answers(table: pa.Table) -> Answers:
    columns = [name for name in table.column_names if name.startswith("p_")]
    classes = tuple(name.removeprefix("p_") for name in columns)
    labels = pc.index_in(table["label"], pa.array(classes)).to_numpy().astype(np.int64)
    probabilities = [table[name].to_numpy().astype(np.float64) for name in columns]
    return Answers(classes, labels, np.column_stack(probabilities))


def _share_arrays(counts: GroupCounts, arrays: dict[bytes, NDArray[Any]]) -> GroupCounts:
    """Have runs of one test set share their arrays.

    Args:
        counts: of one run.
        arrays: of the runs before, by digest; new ones are added.
    """
    return dataclasses.replace(
        counts,
        groups=_share_array(arrays, counts.groups),
        tested=_share_array(arrays, counts.tested),
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
        if local_path := get_local_path_or_none(uri):
            # A local file is opened in place: MLflow takes longer to hand it out than to read it.
            yield Path(local_path)
        else:
            yield Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder))
