"""Prepare a block's table for the templates of the HTML pages."""

import itertools
from dataclasses import dataclass

import pandas as pd

from pipelines.compare.blocks import Block
from pipelines.compare.columns import Column
from pipelines.compare.columns import format_cells
from pipelines.compare.columns import NUMERIC_TITLES
from pipelines.compare.columns import select_columns


@dataclass(frozen=True)
class Cell:
    """A cell's text and its CSS class, "" for none."""

    text: str
    css: str


@dataclass(frozen=True)
class HtmlTable:
    """A table as `macros.html.j2` shows it."""

    name: str
    groups: list[tuple[str, int]]  # title of each group of columns, and the number of these
    headings: list[Cell]
    rows: list[tuple[str, list[Cell]]]  # a label for the heading of the row, and its cells


def build_html_table(block: Block, table: pd.DataFrame) -> HtmlTable:
    """Build the HTML table of a block from its part of the table."""
    columns = select_columns(table)
    groups = itertools.groupby(column.group for column in columns)
    lines = format_cells(table, columns, page=True)
    return HtmlTable(
        name=block.protocol,
        groups=[(group, len(list(members))) for group, members in groups],
        headings=[Cell(column.title, _choose_css(column)) for column in columns],
        rows=[
            (
                f"variant {row.variant}" if row.variant else row.config.head_notation,
                [
                    Cell(text, _choose_css(column))
                    for text, column in zip(texts, columns, strict=True)
                ],
            )
            for row, texts in zip(block.rows, lines, strict=True)
        ],
    )


def _choose_css(column: Column) -> str:
    if column.title in NUMERIC_TITLES:
        return "n"
    return "ids" if column.title == "Run IDs" else ""
