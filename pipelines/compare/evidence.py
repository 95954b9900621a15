"""Evidence for a report: the rows of one protocol, with curves and predictions."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from pipelines.compare.columns import format_learning_rate
from pipelines.compare.table import group_into_blocks
from pipelines.compare.verdict import BASE
from pipelines.compare.verdict import judge_rows
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished import FinishedRun
from pipelines.runs.predictions import Answers
from pipelines.runs.predictions import open_artifact
from pipelines.runs.predictions import Predictions
from study.reported import read_reported
from study.reported import ReportedRow
from study.variants import find_variant


@dataclass(frozen=True)
class Row:
    """One config of a study, with its runs and what they keep."""

    runs: list[FinishedRun]
    verdict: Verdict
    # One for each run that has one, with columns epoch, loss, accuracy, val_loss and val_accuracy.
    curves: list[pd.DataFrame]
    answers: Answers | None  # of all seeds and folds together

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


def read_rows(block: list[list[FinishedRun]], predictions: Predictions) -> list[Row]:
    """Read the curves of a block's runs, and judge each row.

    Args:
        block: the runs of each row, all of one protocol.
        predictions: of the runs, with answers. Runs without any are left out of the intervals,
            the comparisons and the answers.
    """
    verdicts = judge_rows(block, predictions.counts)
    return [
        Row(runs, verdict, _read_curves(runs), _join_answers(runs, predictions.answers))
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


def _join_answers(
    runs: Iterable[FinishedRun], answers_by_run: Mapping[str, Answers]
) -> Answers | None:
    """Return the answers of all runs as one, or None if no run has any."""
    parts = [answers_by_run[run.run_id] for run in runs if run.run_id in answers_by_run]
    if not parts:
        return None
    labels = np.concatenate([part.labels for part in parts])
    probabilities = np.concatenate([part.probabilities for part in parts])
    return Answers(parts[0].classes, labels, probabilities)
