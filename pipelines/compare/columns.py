"""The columns of the comparison table, and how each is written."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

BLOCK = "Protocol"  # a column of the table, not of the files: rows of one block share a protocol


def lr_text(lr: float) -> str:
    """A learning rate as the reports write it: `5e-5`."""
    return np.format_float_scientific(lr, trim="-", exp_digits=1)


def lr_short(lr: float) -> str:
    """The same to four digits, for searched rates, which have sixteen."""
    return np.format_float_scientific(lr, precision=3, trim="-", exp_digits=1)


def points_text(points: float) -> str:
    """A signed difference in percentage points; none is `+0.00`, never `-0.00`."""
    return f"{round(points, 2) + 0.0:+.2f}"


def p_text(p: float) -> str:
    """A p-value to three decimals; `<0.001` below."""
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def count_text(count: float) -> str:
    """A count, or a mean of counts to one decimal."""
    return f"{count:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Column:
    """How a column is written: `file` in the CSV, `page` for readers; the group it stands in."""

    title: str
    group: str
    file: Callable[[Any], str] = str
    page: Callable[[Any], str] | None = None
    missing: str | None = None  # stands for no value, which elsewhere means a diverged loss

    def text(self, value: Any, *, page: bool) -> str:
        """One cell."""
        if self.missing is not None and pd.isna(value):
            return self.missing
        return (self.page if page and self.page else self.file)(value)


def _figure(title: str, group: str, digits: int, page: str = "", **more: Any) -> Column:
    return Column(title, group, f"{{:.{digits}f}}".format, page.format if page else None, **more)


MEAN = "This study"
INTERVAL = "95% interval"
AGAINST = "Against the base"
HEAD = "Variant"
REPORT = "The report"
PROTOCOL = "Protocol"
MEASURED = "Loss and accuracy"
COST = "Cost and health"
COLUMNS = (
    Column("Model", MEAN),
    Column("Hidden Layer", MEAN),
    Column("Dense Count", MEAN),
    Column("Learning Rate", MEAN, lr_text, lr_short),
    _figure("Accuracy", MEAN, 2, "{:.2f}%"),
    _figure("Learning Time(ms)", MEAN, 3, "{:,.0f}"),
    _figure("Low", INTERVAL, 2, "{:.2f}%", missing=""),
    _figure("High", INTERVAL, 2, "{:.2f}%", missing=""),
    Column("By", INTERVAL),
    _figure("SD (points)", INTERVAL, 2, missing=""),
    Column("Variant", HEAD, missing=""),
    Column("Head", HEAD),
    _figure("Reported Accuracy", REPORT, 2, "{:.2f}%", missing=""),
    Column("Difference (points)", REPORT, points_text, missing=""),
    Column("In Interval", REPORT),
    _figure("Reported Learning Time(ms)", REPORT, 3, "{:,.0f}", missing=""),
    Column("Gain (points)", AGAINST, points_text, missing=""),
    Column("Gain Low", AGAINST, points_text, missing=""),
    Column("Gain High", AGAINST, points_text, missing=""),
    Column("p (Holm)", AGAINST, p_text, missing=""),
    _figure("P(better)", AGAINST, 2, missing=""),
    _figure("Time Ratio", AGAINST, 3, "{:.2f}", missing=""),
    Column("Seeds", PROTOCOL),
    Column("Folds", PROTOCOL),
    Column("Split", PROTOCOL),
    Column("Weights", PROTOCOL),
    Column("Image Size", PROTOCOL),
    Column("Epochs", PROTOCOL),
    Column("Train/Val/Test Images", PROTOCOL),
    _figure("Leak", PROTOCOL, 4, "{:.1%}", missing="unknown"),
    Column("Test Groups", PROTOCOL, count_text, missing="unknown"),
    *(
        _figure(f"{part} {figure}", MEASURED, 4)
        for part in ("Train", "Val", "Test")
        for figure in ("Loss", "Accuracy")
    ),
    _figure("Total Time(s)", COST, 1),
    _figure("Images per Second", COST, 1),
    _figure("Dead Units", COST, 1),
    Column("Run IDs", "Runs"),
)
KNOWN = {column.title: column for column in COLUMNS}
TEXTS = (
    *("Model", "Head", "By", "In Interval", "Seeds", "Folds", "Split", "Weights"),
    *("Train/Val/Test Images", "Run IDs"),
)
NUMERIC = set(KNOWN) - set(TEXTS)  # titles of the columns that align right


def columns_of(table: pd.DataFrame) -> list[Column]:
    """How to write each column of a table, in order, without `BLOCK`."""
    titles = [str(title) for title in table.columns if title != BLOCK]
    return [KNOWN.get(title, Column(title, PROTOCOL)) for title in titles]


def cells(table: pd.DataFrame, columns: Sequence[Column], *, page: bool) -> list[list[str]]:
    """The table as text, a list for each row."""
    return [
        [column.text(row[column.title], page=page) for column in columns]
        for row in table.to_dict("records")
    ]
