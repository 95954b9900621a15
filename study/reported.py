"""The figures that the two reports print, with the notes on their misprints (`reported.csv`)."""

import csv
import dataclasses
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Size of the test set behind each report's accuracies: a fifth of every class, rounded down.
TEST_IMAGES = {"chest": 1170, "blood": 2500}


@dataclass(frozen=True)
class Reported:
    """One variant of one report. Losses in nats, accuracies 0 to 1, as the logs print them.

    The `table_` fields repeat the report's own comparison table, misprints included; `note` says
    what is wrong with them. Use the others.
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


def reported(dataset: str) -> dict[int, Reported]:
    """The reported row of each variant (1 to 7); empty for a data set without a report."""
    return {row.variant: row for row in _rows() if row.dataset == dataset}


@cache
def _rows() -> tuple[Reported, ...]:
    path = Path(__file__).with_name("reported.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_row(cells) for cells in csv.DictReader(file))


def _row(cells: dict[str, str]) -> Reported:
    kinds = {"int": int, "float": float, "str": str}
    names = {spec.name: getattr(spec.type, "__name__", "") for spec in dataclasses.fields(Reported)}
    return Reported(**{name: kinds[kind](cells[name]) for name, kind in names.items()})
