"""Show what a decision threshold that is chosen on validation does to the test figures.

    python -m experiments.threshold RUN RUN ... --out threshold.csv

Takes finished runs of a data set with two classes. By default a model predicts the second class if
its probability is at least 0.5. Here the threshold is the one with the highest balanced accuracy on
validation (Youden's index). `limit` is the highest test accuracy that any threshold could reach.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from pipelines.runs.one_run import read_run
from pipelines.runs.predictions import open_artifact
from study.common.command import run_command
from study.common.errors import StudyError
from study.statistics import metrics
from study.statistics.predictions import PREDICTIONS_FILE
from study.tracking.connection import connect


def choose_threshold(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Return the threshold with the highest balanced accuracy.

    It lies halfway between two scores. Of several that are equally good, it is the median.

    Args:
        labels: (n,), 0 or 1.
        scores: (n,), the probability of class 1.
    """
    false_alarms, hits, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    index = hits - false_alarms
    best = np.flatnonzero(np.isclose(index, index.max()))
    thresholds[0] = 2.0  # no image is classified as class 1; scikit-learn has infinity
    thresholds = np.append(thresholds, thresholds[-1])
    middle = best[len(best) // 2]
    return float((thresholds[middle] + thresholds[middle + 1]) / 2)


def measure_at(
    threshold: float, labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[str, float]:
    """Return accuracy and balanced accuracy, 0 to 1, at a threshold."""
    predictions = np.eye(2, dtype=np.float32)[(scores >= threshold).astype(int)]
    return {
        "accuracy": metrics.accuracy(predictions, labels),
        "balanced_accuracy": metrics.balanced_accuracy(predictions, labels),
    }


def find_limit(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Return the highest accuracy that any threshold reaches."""
    false_alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    share = labels.mean()
    return float((share * hits + (1 - share) * (1 - false_alarms)).max())


def make_row(predictions: pd.DataFrame) -> dict[str, float]:
    """Return a run's figures at 0.5 and at the threshold of its validation.

    Raises:
        StudyError: the data set does not have two classes.
    """
    columns = [name for name in map(str, predictions.columns) if name.startswith("p_")]
    if len(columns) != 2:
        raise StudyError(f"{len(columns)} classes: a threshold needs two")
    labels = (predictions["label"] == columns[1].removeprefix("p_")).to_numpy().astype(np.int64)
    scores = predictions[columns[1]].to_numpy().astype(np.float64)
    val, test = ((predictions["split"] == part).to_numpy() for part in ("val", "test"))
    threshold = choose_threshold(labels[val], scores[val])
    plain = measure_at(0.5, labels[test], scores[test])
    tuned = measure_at(threshold, labels[test], scores[test])
    both = np.column_stack([1 - scores, scores]).astype(np.float32)
    return {
        **{f"{name}_at_half": value for name, value in plain.items()},
        "threshold": threshold,
        **{f"{name}_tuned": value for name, value in tuned.items()},
        "limit": find_limit(labels[test], scores[test]),
        "test_auc": metrics.auc(both[test], labels[test]),
        "val_auc": metrics.auc(both[val], labels[val]),
    }


def compare_thresholds(run_ids: Sequence[str], out: Path | None) -> None:
    """Print each run's figures, and their means and standard deviations."""
    client = connect()
    rows = []
    for run_id in run_ids:
        run = read_run(client, run_id)
        with open_artifact(run, PREDICTIONS_FILE) as path:
            rows.append({"run": run.run_id[:8], **make_row(pd.read_parquet(path))})
    table = pd.DataFrame(rows).set_index("run")
    if out is not None:
        table.to_csv(out, float_format="%.4f")
    if len(table) > 1:
        summary = pd.DataFrame({"mean": table.mean(), "std": table.std()}).T
        table = pd.concat([table, summary])
    print(table.T.to_string(float_format="{:.4f}".format))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="IDs of finished runs")
    parser.add_argument("--out", type=Path, metavar="CSV", help="also write the table there")
    args = parser.parse_args()
    compare_thresholds(args.runs, args.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
