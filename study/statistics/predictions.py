"""Count a run's test images by group, and find the share of its largest class."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from study.statistics.counts import Counts

# Among a run's artifacts; written by `study/training/artifacts.py`
PREDICTIONS_FILE = "predictions.parquet"


@dataclass(frozen=True)
class GroupCounts:
    """One run's test images by group: how many there are, and how many are right.

    `groups` has their names, in order. Without known groups, each image is a group. Runs of one
    test set share the array.
    """

    groups: NDArray[np.str_]
    right: NDArray[np.int32]
    tested: NDArray[np.int32]
    grouped: bool  # whether the groups are known
    labels: Mapping[str, int] = field(default_factory=dict)  # the number of images of each class
    only_answer: str = ""  # the class predicted for all images, if these are of several

    @property
    def accuracy(self) -> float:
        """Return the accuracy over all test images, 0 to 1."""
        return float(self.right.sum() / self.tested.sum())

    @property
    def counts(self) -> Counts:
        """Return these counts as those of a single seed, each array of shape (groups, 1)."""
        return Counts(self.right[:, None].astype(float), self.tested[:, None].astype(float))


def count_by_group(table: pa.Table) -> GroupCounts:
    """Count a run's test images, and the right predictions among them, by group.

    Args:
        table: columns image, split, label, perhaps group, and `p_<class>` for each class.
    """
    table = table.filter(pc.equal(table["split"], "test"))
    columns = [name for name in table.column_names if name.startswith("p_")]
    probabilities = np.column_stack([table[name].to_numpy() for name in columns])
    classes = pa.array([name.removeprefix("p_") for name in columns])
    labels = pc.index_in(table["label"], classes).to_numpy()
    is_right = probabilities.argmax(axis=1) == labels
    only_answer = find_only_answer(probabilities, labels)
    has_groups = "group" in table.column_names and table["group"].null_count == 0
    key_column = table["group" if has_groups else "image"]
    keys = key_column.to_numpy(zero_copy_only=False).astype(np.str_)
    groups, indices = np.unique(keys, return_inverse=True)
    return GroupCounts(
        groups,
        np.bincount(indices, weights=is_right, minlength=len(groups)).astype(np.int32),
        np.bincount(indices, minlength=len(groups)).astype(np.int32),
        has_groups,
        Counter(table["label"].to_pylist()),
        "" if only_answer is None else classes[only_answer].as_py(),
    )


def find_only_answer(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> int | None:
    """Find the class predicted for all images, if these are of several classes.

    Args:
        probabilities: (n, classes).
        labels: (n,), class index.

    Returns:
        The index of the class, or None if predictions differ, or all images are of one class.
    """
    answers = set(probabilities.argmax(axis=1).tolist())
    return answers.pop() if len(answers) == 1 and len(set(labels.tolist())) > 1 else None


def compute_majority_share(table: pa.Table, part: str) -> float:
    """Compute the share (0 to 1) of the largest class among the images of a part.

    Args:
        table: columns split and label.
        part: `val` or `test`.
    """
    labels = table.filter(pc.equal(table["split"], part))["label"]
    counts = pc.value_counts(labels).field("counts")
    return float(pc.max(counts).as_py() / len(labels))
