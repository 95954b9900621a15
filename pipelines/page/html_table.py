"""Prepare a block's tables for the templates of the HTML pages."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipelines.compare.block_sentences import describe_block
from pipelines.compare.blocks import Block
from pipelines.compare.blocks import Row
from pipelines.compare.cells import format_value
from pipelines.compare.cells import name_field
from pipelines.compare.columns import Column
from pipelines.compare.columns import format_cells
from pipelines.compare.columns import select_columns
from pipelines.compare.formats import format_accuracy
from pipelines.compare.formats import format_difference
from pipelines.compare.formats import format_p
from pipelines.compare.short_table import select_short_columns
from pipelines.compare.short_table import ShortColumn
from pipelines.compare.short_table import write_short_rows
from study.common.words import pluralize


@dataclass(frozen=True)
class HtmlCell:
    """A cell's text, its CSS class and the number to sort it by, each "" for none."""

    text: str
    css: str
    value: str = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table as `macros.html.j2` shows it."""

    name: str
    groups: list[tuple[str, int]]  # title of each group of columns, and the number of these
    headings: list[HtmlCell]
    rows: list[tuple[str, list[HtmlCell]]]  # a label for the heading of the row, and its cells


@dataclass(frozen=True)
class BlockTables:
    """The table of a block for readers, and the one with all columns."""

    short: HtmlTable
    whole: HtmlTable
    sentences: list[str]  # on a sweep or a search


def build_block_tables(block: Block, table: pd.DataFrame) -> BlockTables:
    """Build the HTML tables of a block from its part of the table."""
    return BlockTables(
        _build_short_table(block, table), _build_whole_table(block, table), describe_block(block)
    )


def _build_short_table(block: Block, table: pd.DataFrame) -> HtmlTable:
    columns = select_short_columns(block, table)
    lines = zip(write_short_rows(block, table, columns), table.to_dict("records"), strict=True)
    return HtmlTable(
        name=block.caption,
        groups=[],
        headings=[
            HtmlCell(_keep_interval(column.title), _choose_short_css(column)) for column in columns
        ],
        rows=[("", _make_short_cells(columns, texts, line)) for texts, line in lines],
    )


def _make_short_cells(
    columns: Sequence[ShortColumn], texts: Sequence[str], line: dict[Any, Any]
) -> list[HtmlCell]:
    cells = []
    for column, text in zip(columns, texts, strict=True):
        number = _format_number(line.get(column.sort_by))
        cells.append(HtmlCell(_keep_interval(text), _choose_short_css(column), number))
    return cells


def _keep_interval(text: str) -> str:
    """Keep an interval in brackets on one line, which may break before it."""
    before, bracket, interval = text.partition(" (")
    return before + bracket + interval.replace(" ", "\N{NO-BREAK SPACE}")


def _choose_short_css(column: ShortColumn) -> str:
    if column.wraps:
        return "wraps"
    return "n" if column.is_numeric else ""


def _format_number(value: Any) -> str:
    return "" if pd.isna(value) else f"{value:.6g}"


def _build_whole_table(block: Block, table: pd.DataFrame) -> HtmlTable:
    columns = select_columns(table)
    groups = itertools.groupby(column.group for column in columns)
    lines = format_cells(table, columns, page=True)
    return HtmlTable(
        name=f"All columns: {block.title}",
        groups=[(group, len(list(members))) for group, members in groups],
        headings=[HtmlCell(column.title, _choose_css(column)) for column in columns],
        rows=[
            (
                _label_row(row),
                [
                    HtmlCell(text, _choose_css(column))
                    for text, column in zip(texts, columns, strict=True)
                ],
            )
            for row, texts in zip(block.rows, lines, strict=True)
        ],
    )


def build_effects_table(block: Block) -> HtmlTable:
    """Build the table of a sweep's main effects.

    It has a row for each value of each field.
    """
    rows = []
    for effect in block.effects:
        for level in effect.levels:
            p = "" if level.p is None else format_p(level.p)
            gain = format_difference(level.gain) if level.gain else "baseline"
            texts = [
                format_value(effect.field, level.value),
                format_accuracy(level.accuracy),
                gain,
                p,
                pluralize(effect.cells, "config"),
            ]
            cells = [HtmlCell(_keep_interval(text), "n") for text in texts]
            rows.append(("", [HtmlCell(name_field(effect.field), ""), *cells]))
    titles = (
        *("Value", "Mean accuracy (95 % interval)", "Points from baseline (95 % interval)"),
        *("Adjusted p", "Mean over"),
    )
    headings = [HtmlCell("Field", ""), *(HtmlCell(_keep_interval(title), "n") for title in titles)]
    return HtmlTable("Each field, averaged over the values of the others", [], headings, rows)


def _label_row(row: Row) -> str:
    if row.cell:
        return row.cell.label
    return f"variant {row.variant}" if row.variant else row.config.head_notation


def _choose_css(column: Column) -> str:
    if column.is_numeric:
        return "n"
    return "ids" if column.title in ("Run IDs", "weights_digest") else ""
