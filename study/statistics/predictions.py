"""A run's predictions of its test images as counts by group."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from study.statistics.intervals import Counts

PREDICTIONS = "predictions.parquet"  # among a run's artifacts; see `study/training/artifacts.py`


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

    @property
    def counts(self) -> Counts:
        """Those of a single seed."""
        return Counts(self.right[:, None].astype(float), self.tested[:, None].astype(float))


def counted(table: pa.Table) -> Tested:
    """The test images in a run's predictions, by group.

    Args:
        table: columns image, split, label, perhaps group, and `p_<class>` for each class.
    """
    table = table.filter(pc.equal(table["split"], "test"))
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
