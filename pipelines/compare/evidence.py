"""What a report is made of: the rows of one protocol, with their curves and predictions."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipelines.compare.columns import lr_text
from pipelines.compare.table import blocks_of
from pipelines.compare.verdict import BASE
from pipelines.compare.verdict import judge
from pipelines.compare.verdict import Verdict
from pipelines.runs.finished import FinishedRun
from pipelines.runs.predictions import artifact
from study.reported import Reported
from study.reported import reported
from study.statistics.predictions import PREDICTIONS
from study.statistics.predictions import Tested
from study.variants import variant_of


@dataclass(frozen=True)
class Answers:
    """What the runs of a row said of their test images, of all seeds and folds together."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]  # (n,)
    probabilities: NDArray[np.float64]  # (n, classes)


@dataclass(frozen=True)
class Row:
    """One config of a study."""

    runs: list[FinishedRun]
    verdict: Verdict
    curves: list[pd.DataFrame]  # of each run that has one: epoch, loss, accuracy and val_ of both
    answers: Answers | None

    @property
    def variant(self) -> int | None:
        """1 to 7, or None for another config."""
        return variant_of(self.runs[0].config)

    @property
    def label(self) -> str:
        """`2: D(16) · 1e-5`: what tells it from other rows."""
        config = self.runs[0].config
        head = config.head_notation.removeprefix("F - ").replace(" - ", "·")
        number = f"{self.variant}: " if self.variant else ""
        return f"{number}{head} · {lr_text(float(f'{config.lr:.3g}'))}"

    @property
    def report(self) -> Reported | None:
        """What the report prints of it, if it does."""
        config = self.runs[0].config
        found = reported(config.dataset).get(self.variant or 0)
        return found if found and found.backbone == config.backbone else None


def main_block(runs: Sequence[FinishedRun]) -> list[list[FinishedRun]]:
    """The runs of each row, of the protocol under which most variants, and most runs, were made."""

    def size(block: list[list[FinishedRun]]) -> tuple[int, int]:
        variants = {variant_of(row[0].config) for row in block} - {None}
        return len(variants), sum(len(row) for row in block)

    return max(blocks_of(runs), key=size)


def read_rows(block: list[list[FinishedRun]], tested: Mapping[str, Tested]) -> list[Row]:
    """The rows of a block with all that their runs keep."""
    verdicts = judge(block, tested)
    return [
        Row(runs, verdict, _curves(runs), _answers([r for r in runs if r.run_id in tested]))
        for runs, verdict in zip(block, verdicts, strict=True)
    ]


def base_of(rows: Sequence[Row]) -> Row | None:
    """The variant that the others are compared with."""
    return next((row for row in rows if row.variant == BASE), None)


def _curves(runs: Iterable[FinishedRun]) -> list[pd.DataFrame]:
    found = []
    for run in runs:
        try:
            with artifact(run, "history.csv") as path:
                found.append(pd.read_csv(path))
        except (MlflowException, OSError, ValueError):
            continue
    return found


def _answers(runs: Sequence[FinishedRun]) -> Answers | None:
    tables = []
    for run in runs:
        with artifact(run, PREDICTIONS) as path:
            table = pd.read_parquet(path)
        tables.append(table[table["split"] == "test"])
    if not tables:
        return None
    whole = pd.concat(tables)
    names = [str(name) for name in whole if str(name).startswith("p_")]
    classes = tuple(name[2:] for name in names)
    labels = pd.Categorical(whole["label"], classes).codes.astype(np.int64)
    return Answers(classes, labels, whole[names].to_numpy(np.float64))
