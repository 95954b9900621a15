"""The columns of the table that answer the study's question, for readers."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipelines.compare.columns import format_learning_rate_short
from pipelines.compare.formats import format_accuracy
from pipelines.compare.formats import format_difference
from pipelines.compare.formats import format_duration
from pipelines.compare.formats import format_p
from pipelines.compare.formats import format_percent
from pipelines.compare.verdict import BASELINE
from study.statistics.intervals import Estimate

Line = Mapping[Any, Any]  # of the table of `build_table`, by column


@dataclass(frozen=True)
class ShortColumn:
    """A column for readers, written from one or more columns of the whole table.

    `sort_by` is the column of the whole table that has its numbers. Where it is empty, the text
    itself is what to sort by. The column is left out where the table lacks `needs`.
    """

    title: str
    write: Callable[[Line], str]
    sort_by: str = ""
    needs: str = ""
    is_numeric: bool = True


def write_short_rows(table: pd.DataFrame, columns: Sequence[ShortColumn]) -> list[list[str]]:
    """Write the cells of some columns as text, one list for each line of the table."""
    return [[column.write(line) for column in columns] for line in table.to_dict("records")]


def select_short_columns(table: pd.DataFrame) -> list[ShortColumn]:
    """Return the columns that a table can fill, in order."""
    return [column for column in SHORT_COLUMNS if not column.needs or column.needs in table]


def _write_variant(line: Line) -> str:
    return "other" if pd.isna(line["Variant"]) else str(line["Variant"])


def _write_accuracy(line: Line) -> str:
    accuracy = line["Accuracy"] / 100
    if pd.isna(line["Low"]):
        return format_percent(accuracy)
    return format_accuracy(Estimate(accuracy, line["Low"] / 100, line["High"] / 100))


def _write_reported(line: Line) -> str:
    reported = line["Reported Accuracy"]
    return "" if pd.isna(reported) else format_percent(reported / 100)


def _write_difference(line: Line) -> str:
    if _write_variant(line) == str(BASELINE):
        obstacle = line.get("Not Compared", "")
        return f"baseline, {obstacle}" if obstacle else "baseline"
    bounds = [line[name] for name in ("Gain (points)", "Gain Low", "Gain High")]
    if pd.isna(bounds[0]):
        return str(line.get("Not Compared", ""))
    return format_difference(Estimate(*(points / 100 for points in bounds)))


def _write_p(line: Line) -> str:
    return "" if pd.isna(line["p (Holm)"]) else format_p(line["p (Holm)"])


def _count_seeds(line: Line) -> str:
    return str(len(set(line["Seeds"].split())))


def _count_folds(line: Line) -> str:
    """Write the number of folds as `5 of 5`, or `2 to 5 of 5` if it differs by seed."""
    folds_by_seed, of, total = line["Folds"].rpartition(" of ")
    counts = [len(numbers.split()) for numbers in folds_by_seed.split(", ")]
    low = min(counts)
    high = max(counts)
    return f"{high if low == high else f'{low} to {high}'}{of}{total}" if total else ""


def _write_learning_time(line: Line) -> str:
    milliseconds = line["Learning Time(ms)"]
    return "unknown" if pd.isna(milliseconds) else format_duration(milliseconds / 1000)


def _write_leak(line: Line) -> str:
    return "unknown" if pd.isna(line["Leak"]) else format_percent(line["Leak"])


SHORT_COLUMNS = (
    ShortColumn("Variant", _write_variant),
    ShortColumn("Head", lambda line: str(line["Head"]), is_numeric=False),
    ShortColumn("Rate", lambda line: format_learning_rate_short(line["Learning Rate"])),
    ShortColumn("Accuracy (95 % interval)", _write_accuracy, sort_by="Accuracy"),
    ShortColumn(
        "Reported", _write_reported, sort_by="Reported Accuracy", needs="Reported Accuracy"
    ),
    ShortColumn("Points from baseline (95 % interval)", _write_difference, sort_by="Gain (points)"),
    ShortColumn("Adjusted p", _write_p, sort_by="p (Holm)"),
    ShortColumn("Seeds", _count_seeds),
    ShortColumn("Folds", _count_folds, needs="Folds"),
    ShortColumn("Learning time", _write_learning_time, sort_by="Learning Time(ms)"),
    ShortColumn("Sibling in training", _write_leak, sort_by="Leak"),
)
