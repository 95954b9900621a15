"""The columns of the table that answer the study's question, for readers."""

from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipelines.compare.blocks import Block
from pipelines.compare.cells import format_value
from pipelines.compare.cells import name_field
from pipelines.compare.columns import format_learning_rate_short
from pipelines.compare.formats import format_accuracy
from pipelines.compare.formats import format_difference
from pipelines.compare.formats import format_duration
from pipelines.compare.formats import format_p
from pipelines.runs.protocol import describe_settings
from study.common.words import format_percent
from study.config.sweep import Value
from study.statistics.intervals import Estimate

ROW = "row"
Line = Mapping[Any, Any]  # of the table of `build_table`, by column, and its `Row` under `ROW`


@dataclass(frozen=True)
class ShortColumn:
    """A column for readers, written from one or more columns of the whole table.

    `sort_by` is the column of the whole table that has its numbers. Where it is empty, the text
    itself is what to sort by. The column is left out where the table lacks `needs`. The text of a
    column that `wraps` may take several lines.
    """

    title: str
    write: Callable[[Line], str]
    sort_by: str = ""
    needs: str = ""
    is_numeric: bool = True
    wraps: bool = False


def write_short_rows(
    block: Block, table: pd.DataFrame, columns: Sequence[ShortColumn]
) -> list[list[str]]:
    """Write the cells of some columns as text, one list for each row of a block.

    Args:
        block: whose rows to write.
        table: the block's part of the table of `build_table`.
        columns: from `select_short_columns`.
    """
    lines = zip(block.rows, table.to_dict("records"), strict=True)
    return [[column.write({**line, ROW: row}) for column in columns] for row, line in lines]


def select_short_columns(block: Block, table: pd.DataFrame) -> list[ShortColumn]:
    """Return the columns that a block can fill, in order.

    A sweep has a column for each swept field in place of the variant, its head and its rate, and
    two more for the comparison with the best on validation. A search has one for all settings in
    which its rows differ besides head and rate.
    """
    columns = [column for column in SHORT_COLUMNS if not column.needs or _has(table, column.needs)]
    if block.searched:
        columns.insert(len(VARIANT_COLUMNS), _make_settings_column(block.searched))
    if block.sweep is None:
        return columns
    against_best = BEST_COLUMNS if any(row.verdict.lead for row in block.rows) else ()
    place = next(number for number, column in enumerate(columns) if column.title == "Seeds")
    return [
        *(_make_field_column(name, values) for name, values in block.sweep.fields.items()),
        *columns[len(VARIANT_COLUMNS) : place],
        *against_best,
        *columns[place:],
    ]


def _has(table: pd.DataFrame, title: str) -> bool:
    """Return whether a table has a value in a column."""
    return title in table and bool(table[title].replace("", None).notna().any())


def _make_field_column(name: str, values: Sequence[Value]) -> ShortColumn:
    is_numeric = not isinstance(values[0], str)
    return ShortColumn(
        name_field(name),
        lambda line: format_value(name, line[ROW].cell.values[name]),
        is_numeric=is_numeric,
    )


def _make_settings_column(names: Sequence[str]) -> ShortColumn:
    return ShortColumn(
        "Other settings",
        lambda line: describe_settings(line[ROW].runs[0], names),
        is_numeric=False,
        wraps=True,
    )


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
    row = line[ROW]
    if row.is_baseline:
        return ", ".join(filter(None, ["baseline", row.verdict.obstacle]))
    gain = row.verdict.gain
    return format_difference(gain) if gain else row.verdict.obstacle


def _write_lead(line: Line) -> str:
    row = line[ROW]
    if row.cell and row.cell.is_best:
        return "first of the best" if row.cell.is_tied else "best on validation"
    return format_difference(row.verdict.lead) if row.verdict.lead else ""


def _write_lead_p(line: Line) -> str:
    p = line[ROW].verdict.lead_p
    return "" if p is None else format_p(p)


def _write_p(line: Line) -> str:
    return "" if pd.isna(line["p (Holm)"]) else format_p(line["p (Holm)"])


def _count_seeds(line: Line) -> str:
    """Write the number of seeds, or `1 of 3` if the accuracy is that of some seeds only."""
    row = line[ROW]
    if row.judged_seeds == row.trained_seeds:
        return str(row.trained_seeds)
    return f"{row.judged_seeds} of {row.trained_seeds}"


def _count_folds(line: Line) -> str:
    """Write the number of folds as `5 of 5`, or `2 to 5 of 5` if it differs by seed."""
    runs = line[ROW].runs
    counts = Counter(run.config.seed for run in runs).values()
    low = min(counts)
    high = max(counts)
    trained = str(high) if low == high else f"{low} to {high}"
    return f"{trained} of {runs[0].config.folds}" if runs[0].config.folds else ""


def _write_learning_time(line: Line) -> str:
    milliseconds = line["Learning Time(ms)"]
    return "unknown" if pd.isna(milliseconds) else format_duration(milliseconds / 1000)


def _write_leak(line: Line) -> str:
    if pd.isna(line["Leak at Least"]):
        return "unknown"
    share = format_percent(line["Leak at Least"])
    return f"at least {share}" if pd.isna(line["Leak"]) else share


VARIANT_COLUMNS = (
    ShortColumn("Variant", _write_variant),
    ShortColumn("Head", lambda line: str(line["Head"]), is_numeric=False),
    ShortColumn("Rate", lambda line: format_learning_rate_short(line["Learning Rate"])),
)
SHORT_COLUMNS = (
    *VARIANT_COLUMNS,
    ShortColumn("Accuracy (95 % interval)", _write_accuracy, sort_by="Accuracy"),
    ShortColumn(
        "Reported", _write_reported, sort_by="Reported Accuracy", needs="Reported Accuracy"
    ),
    ShortColumn("Points from baseline (95 % interval)", _write_difference, sort_by="Gain (points)"),
    ShortColumn("Adjusted p", _write_p, sort_by="p (Holm)"),
    ShortColumn("Seeds", _count_seeds),
    ShortColumn("Folds", _count_folds, needs="Folds"),
    ShortColumn("Learning time", _write_learning_time, sort_by="Learning Time(ms)"),
    ShortColumn("Sibling in training", _write_leak, sort_by="Leak at Least"),
)
BEST_COLUMNS = (
    ShortColumn("Points from best (95 % interval)", _write_lead, sort_by="Lead (points)"),
    ShortColumn("Adjusted p, best", _write_lead_p, sort_by="p of Lead (Holm)"),
)
