"""Evidence for a report: the rows of one protocol, with curves and predictions."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipelines.compare.columns import format_learning_rate
from pipelines.compare.table import group_into_blocks
from pipelines.compare.verdict import BASE
from pipelines.compare.verdict import judge_rows
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished import FinishedRun
from pipelines.runs.predictions import open_artifact
from study.reported import read_reported
from study.reported import ReportedRow
from study.statistics.predictions import GroupCounts
from study.statistics.predictions import PREDICTIONS_FILE
from study.variants import find_variant


@dataclass(frozen=True)
class Answers:
    """Predictions of a row's runs for their test images, all seeds and folds together."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]  # (n,)
    probabilities: NDArray[np.float64]  # (n, classes)


@dataclass(frozen=True)
class Row:
    """One config of a study, with its runs and what they keep."""

    runs: list[FinishedRun]
    verdict: Verdict
    # One for each run that has one, with columns epoch, loss, accuracy, val_loss and val_accuracy.
    curves: list[pd.DataFrame]
    answers: Answers | None

    @property
    def variant(self) -> int | None:
        """Return the number of the variant, 1 to 7, or None for any other config."""
        return find_variant(self.runs[0].config)

    @property
    def label(self) -> str:
        """Return a short name that tells the row from others, as `2: D(16) · 1e-5`."""
        config = self.runs[0].config
        head = config.head_notation.removeprefix("F - ").replace(" - ", "·")
        number = f"{self.variant}: " if self.variant else ""
        return f"{number}{head} · {format_learning_rate(float(f'{config.lr:.3g}'))}"

    @property
    def report(self) -> ReportedRow | None:
        """Return the figures that the report prints for this config, if any."""
        config = self.runs[0].config
        report = read_reported(config.dataset).get(self.variant or 0)
        return report if report and report.backbone == config.backbone else None


def find_main_block(runs: Sequence[FinishedRun]) -> list[list[FinishedRun]]:
    """Return the rows of the main protocol, each as a list of its runs.

    That is the protocol with the most variants, and among equals the one with the most runs.
    """

    def count_variants_and_runs(block: list[list[FinishedRun]]) -> tuple[int, int]:
        variants = {find_variant(row[0].config) for row in block} - {None}
        return len(variants), sum(len(row) for row in block)

    return max(group_into_blocks(runs), key=count_variants_and_runs)


def read_rows(block: list[list[FinishedRun]], tested: Mapping[str, GroupCounts]) -> list[Row]:
    """Read the curves and predictions of a block's runs, and judge each row.

    Args:
        block: the runs of each row, all of one protocol.
        tested: the test images of each run by group, by run ID. Runs without any are left out of
            the intervals, the comparisons and the answers.
    """
    verdicts = judge_rows(block, tested)
    return [
        Row(
            runs,
            verdict,
            _read_curves(runs),
            _read_answers([run for run in runs if run.run_id in tested]),
        )
        for runs, verdict in zip(block, verdicts, strict=True)
    ]


def find_base(rows: Sequence[Row]) -> Row | None:
    """Return the row of the variant that the others are compared with, if any."""
    return next((row for row in rows if row.variant == BASE), None)


def _read_curves(runs: Iterable[FinishedRun]) -> list[pd.DataFrame]:
    """Read the learning curves of the runs, without those that cannot be read."""
    curves = []
    for run in runs:
        try:
            with open_artifact(run, "history.csv") as path:
                curves.append(pd.read_csv(path))
        except (MlflowException, OSError, ValueError):
            continue
    return curves


def _read_answers(runs: Sequence[FinishedRun]) -> Answers | None:
    """Read the predictions of all runs for their test images, or None without runs."""
    tables = []
    for run in runs:
        with open_artifact(run, PREDICTIONS_FILE) as path:
            table = pd.read_parquet(path)
        tables.append(table[table["split"] == "test"])
    if not tables:
        return None
    predictions = pd.concat(tables)
    columns = [str(name) for name in predictions if str(name).startswith("p_")]
    classes = tuple(column[2:] for column in columns)
    labels = pd.Categorical(predictions["label"], classes).codes.astype(np.int64)
    return Answers(classes, labels, predictions[columns].to_numpy(np.float64))
