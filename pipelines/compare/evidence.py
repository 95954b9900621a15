"""Read what the charts of a block's rows need: learning curves and predictions."""

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from pipelines.compare.blocks import Block
from pipelines.compare.blocks import Row
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.predictions import Answers
from pipelines.runs.predictions import open_artifact


@dataclass(frozen=True, kw_only=True)
class DetailedRow(Row):
    """A row with the curves and the predictions of its runs."""

    # One for each run that has one, with columns epoch, loss, accuracy, val_loss and val_accuracy.
    curves: list[pd.DataFrame]
    answers_by_run: list[Answers]  # one for each run that has predictions

    @property
    def answers(self) -> Answers | None:
        """Return the answers of all seeds and folds together, or None if no run has any."""
        parts = self.answers_by_run
        if not parts:
            return None
        labels = np.concatenate([part.labels for part in parts])
        probabilities = np.concatenate([part.probabilities for part in parts])
        return Answers(parts[0].classes, labels, probabilities)


def read_details(block: Block, answers: Mapping[str, Answers]) -> list[DetailedRow]:
    """Read the curves of a block's rows, and add the answers of their runs, by run ID."""
    return [
        DetailedRow(
            row.runs,
            row.verdict,
            row.cell,
            row.is_found,
            curves=_read_curves(row.runs),
            answers_by_run=[answers[run.run_id] for run in row.runs if run.run_id in answers],
        )
        for row in block.rows
    ]


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
