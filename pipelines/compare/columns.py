"""Columns of the whole comparison table, and how each is written."""

import math
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.compare.formats import format_beside_level
from pipelines.compare.formats import format_duration
from pipelines.compare.formats import format_p
from pipelines.compare.formats import format_signed_points
from study.common.words import format_percent


def format_learning_rate(lr: float) -> str:
    """Format a learning rate as the reports write it: `5e-5`."""
    return np.format_float_scientific(lr, trim="-", exp_digits=1)


def format_learning_rate_short(lr: float) -> str:
    """Format a learning rate to four digits: a searched rate has sixteen."""
    return np.format_float_scientific(lr, precision=3, trim="-", exp_digits=1)


def format_points(points: float) -> str:
    """Format a signed difference in percentage points.

    Zero is `+0.00`, never `-0.00`.
    """
    return f"{round(points, 2) + 0.0:+.2f}"


def format_detectable(points: float) -> str:
    """Format the smallest difference that could be found, of 100 points at most."""
    return f"{points:.1f}" if math.isfinite(points) else "over 100"


def _format_points_short(points: float) -> str:
    """Format a signed difference in percentage points with the decimals of an accuracy."""
    return format_signed_points(points / 100)


def format_p_value(p: float) -> str:
    """Format a p-value to three decimals, more beside 0.05, or as `<0.001` if it rounds to 0."""
    return "<0.001" if p < 0.0005 else format_beside_level(p, ".3f", ".4f", ".5f", ".7f", ".9f")


def format_milliseconds(milliseconds: float) -> str:
    """Format a time in the unit that suits it, as `8.6 s`."""
    return "unknown" if math.isnan(milliseconds) else format_duration(milliseconds / 1000)


def format_seed_list(seeds: str) -> str:
    """Format a list of seeds as `1 (seed 0)`, or `3 (seeds 0 1 2)`."""
    count = len(set(seeds.split()))
    return f"{count} (seed{'' if count == 1 else 's'} {seeds})"


def format_count(count: float) -> str:
    """Format a count, or a mean of counts to one decimal."""
    return f"{count:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Column:
    """Column of the table: its title, its group, and how its values are written.

    `file` formats a value for the CSV file. `page` formats it for readers, and where it is None,
    `file` does so. `missing` is the text for a value that is absent. Where it is None, a value
    that is not a number is formatted like any other: it means that the loss diverged.
    """

    title: str
    group: str
    file: Callable[[Any], str] = str
    page: Callable[[Any], str] | None = None
    missing: str | None = None
    is_numeric: bool = True  # aligns right

    def text(self, value: Any, *, page: bool) -> str:
        """Format one value, for readers if `page`, else for the CSV file."""
        if self.missing is not None and pd.isna(value):
            return self.missing
        return (self.page if page and self.page else self.file)(value)


def _make_number_column(
    title: str, group: str, digits: int, page: str = "", **options: Any
) -> Column:
    """Make a column of numbers, with `digits` decimals in the CSV file."""
    format_page = page.format if page else None
    return Column(title, group, f"{{:.{digits}f}}".format, format_page, **options)


def _make_text_column(title: str, group: str, **options: Any) -> Column:
    return Column(title, group, is_numeric=False, **options)


MEAN = "This study"
INTERVAL = "95% interval"
AGAINST = "Against the baseline"
AGAINST_BEST = "Against the best on validation"
HEAD = "Variant"
REPORT = "The report"
PROTOCOL = "Protocol"
MEASURED = "Loss and accuracy"
COST = "Cost and health"
RUNS = "Runs"
COLUMNS = (
    _make_text_column("Model", MEAN),
    Column("Hidden Layer", MEAN),
    Column("Dense Count", MEAN),
    Column("Learning Rate", MEAN, format_learning_rate, format_learning_rate_short),
    _make_number_column("Accuracy", MEAN, 2, "{:.1f} %"),
    Column("Learning Time(ms)", MEAN, "{:.3f}".format, format_milliseconds),
    _make_number_column("Low", INTERVAL, 2, "{:.1f} %", missing=""),
    _make_number_column("High", INTERVAL, 2, "{:.1f} %", missing=""),
    _make_text_column("By", INTERVAL),
    _make_number_column("SD (points)", INTERVAL, 2, "{:.1f}", missing=""),
    Column("Variant", HEAD, missing=""),
    _make_text_column("Head", HEAD),
    _make_number_column("Reported Accuracy", REPORT, 2, "{:.2f} %", missing=""),
    Column("Difference (points)", REPORT, format_points, _format_points_short, missing=""),
    _make_text_column("In Interval", REPORT),
    Column("Reported Learning Time(ms)", REPORT, "{:.3f}".format, format_milliseconds, missing=""),
    Column("Gain (points)", AGAINST, format_points, _format_points_short, missing=""),
    Column("Gain Low", AGAINST, format_points, _format_points_short, missing=""),
    Column("Gain High", AGAINST, format_points, _format_points_short, missing=""),
    Column("p (Holm)", AGAINST, format_p_value, format_p, missing=""),
    Column("Seeds Compared", AGAINST),
    Column("Detectable (points)", AGAINST, "{:.2f}".format, format_detectable, missing=""),
    _make_number_column("P(better)", AGAINST, 2, missing=""),
    _make_number_column("P(better) Low", AGAINST, 2, missing=""),
    _make_number_column("P(better) High", AGAINST, 2, missing=""),
    _make_number_column("Time Ratio", AGAINST, 3, "{:.2f}", missing=""),
    _make_text_column("Not Compared", AGAINST),
    _make_text_column("Best on Validation", AGAINST_BEST),
    Column("Lead (points)", AGAINST_BEST, format_points, _format_points_short, missing=""),
    Column("Lead Low", AGAINST_BEST, format_points, _format_points_short, missing=""),
    Column("Lead High", AGAINST_BEST, format_points, _format_points_short, missing=""),
    Column("p of Lead (Holm)", AGAINST_BEST, format_p_value, format_p, missing=""),
    _make_text_column("Seeds", PROTOCOL, page=format_seed_list),
    _make_text_column("Folds", PROTOCOL),
    _make_text_column("Split", PROTOCOL),
    _make_text_column("Weights", PROTOCOL),
    Column("Image Size", PROTOCOL),
    Column("Epochs", PROTOCOL),
    _make_text_column("Train/Val/Test Images", PROTOCOL),
    Column("Leak", PROTOCOL, "{:.4f}".format, format_percent, missing="unknown"),
    Column("Leak at Least", PROTOCOL, "{:.4f}".format, format_percent, missing="unknown"),
    Column("Test Groups per Run", PROTOCOL, format_count, missing="unknown"),
    *(
        _make_number_column(f"{part} {metric}", MEASURED, 4)
        for part in ("Train", "Val", "Test")
        for metric in ("Loss", "Accuracy")
    ),
    _make_number_column("Total Time(s)", COST, 1),
    _make_number_column("Images per Second", COST, 1),
    _make_number_column("Dead Units", COST, 1),
    _make_text_column("Run IDs", RUNS),
    _make_text_column("dataset", RUNS),
    _make_text_column("weights_digest", RUNS),
)
COLUMNS_BY_TITLE = {column.title: column for column in COLUMNS}


def select_columns(table: pd.DataFrame) -> list[Column]:
    """Return the column for each of a table's titles, in order.

    A title that is not in `COLUMNS` is that of a further setting, and gets a plain text column.
    """
    titles = map(str, table.columns)
    return [COLUMNS_BY_TITLE.get(title, _make_text_column(title, PROTOCOL)) for title in titles]


def format_cells(table: pd.DataFrame, columns: Sequence[Column], *, page: bool) -> list[list[str]]:
    """Format the cells of a table as text, one list for each row."""
    return [
        [column.text(row[column.title], page=page) for column in columns]
        for row in table.to_dict("records")
    ]
