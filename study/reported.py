"""The figures that the two reports print, and notes on their misprints.

They come from `reported.csv`.
"""

import csv
import dataclasses
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Images behind each report's test accuracies: a fifth of every class, rounded down.
TEST_IMAGES = {"chest": 1170, "blood": 2500}


@dataclass(frozen=True)
class ReportedRow:
    """One variant of one report, with the figures that its logs print.

    Losses are in nats, accuracies 0 to 1. The `table_` fields repeat the report's own comparison
    table, misprints included, and `note` says what is wrong with them: use the other fields.
    """

    dataset: str
    backbone: str
    variant: int
    hidden_layers: int
    dense_units: int
    learning_rate: float
    train_loss: float
    train_acc: float
    val_loss: float
    val_acc: float
    test_loss: float
    test_acc: float
    fit_seconds: float
    table_acc_percent: float
    table_time_ms: float
    note: str


def read_reported(dataset: str) -> dict[int, ReportedRow]:
    """Return the reported row of each variant (1 to 7).

    Empty for a data set without a report.
    """
    return {row.variant: row for row in _read_rows() if row.dataset == dataset}


@cache
def _read_rows() -> tuple[ReportedRow, ...]:
    path = Path(__file__).with_name("reported.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_parse_row(cells) for cells in csv.DictReader(file))


def _parse_row(cells: dict[str, str]) -> ReportedRow:
    types = {"int": int, "float": float, "str": str}
    fields = dataclasses.fields(ReportedRow)
    type_names = {spec.name: getattr(spec.type, "__name__", "") for spec in fields}
    return ReportedRow(**{name: types[kind](cells[name]) for name, kind in type_names.items()})
