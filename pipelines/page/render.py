"""Write the comparison table as CSV, Markdown and HTML, and print it.

The same rows always give the same bytes.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from rich.box import Box
from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipelines.compare.blocks import Block
from pipelines.compare.columns import COLUMNS_BY_TITLE
from pipelines.compare.columns import format_cells
from pipelines.compare.columns import NUMERIC_TITLES
from pipelines.compare.columns import select_columns
from pipelines.compare.table import build_table
from pipelines.page.html_table import build_html_table
from study.common.html import render_page
from study.common.progress import OutputConsole

HERE = Path(__file__).parent
NOTES = "Notes on the reported figures (misprints are corrected above)"
# The columns that fit 100 characters, the width used where the output is no terminal
TERMINAL = (
    "Variant",
    "Head",
    "Learning Rate",
    "Accuracy",
    "Low",
    "High",
    "Reported Accuracy",
    "Gain (points)",
    "p (Holm)",
    "Seeds",
)


@dataclass(frozen=True)
class Page:
    """The comparison table and the text around it."""

    title: str
    statement: str
    cautions: list[str]
    blocks: list[Block]
    notes: list[str]

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return the table of all blocks, one under the other."""
        return build_table(self.blocks)

    def list_tables(self) -> list[tuple[Block, pd.DataFrame]]:
        """Return each block with its part of the table."""
        ends = itertools.accumulate(len(block.rows) for block in self.blocks)
        return [
            (block, self.table.iloc[end - len(block.rows) : end])
            for block, end in zip(self.blocks, ends, strict=True)
        ]


def render_csv(page: Page) -> str:
    """Return the table as CSV: all columns, numbers without units."""
    columns = select_columns(page.table)
    frame = pd.DataFrame(
        format_cells(page.table, columns, page=False), columns=[column.title for column in columns]
    )
    return frame.to_csv(index=False, lineterminator="\n")


def render_markdown(page: Page) -> str:
    """Return the page in GitHub-flavored Markdown.

    It has the statement, the cautions, a table per block, and the notes if there are any.
    """
    columns = select_columns(page.table)
    alignments = ["---:" if column.title in NUMERIC_TITLES else "---" for column in columns]
    parts = [f"# {_escape_markdown(page.title)}", _escape_markdown(page.statement)]
    parts += [f"**{_escape_markdown(line)}**" for line in page.cautions]
    for block, rows in page.list_tables():
        lines = [_render_markdown_row([column.title for column in columns])]
        lines.append(_render_markdown_row(alignments, raw=True))
        lines += [_render_markdown_row(row) for row in format_cells(rows, columns, page=True)]
        parts += [f"## {_escape_markdown(block.protocol)}", "\n".join(lines)]
    if page.notes:
        parts += [f"## {NOTES}", "\n".join(f"- {_escape_markdown(note)}" for note in page.notes)]
    return "\n\n".join(parts) + "\n"


def _render_markdown_row(texts: Sequence[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(text if raw else _escape_markdown(text) for text in texts) + " |"


def _escape_markdown(text: str) -> str:
    for character in "\\|<>*_`":
        text = text.replace(character, "\\" + character)
    return text


def render_html(page: Page) -> str:
    """Return one self-contained HTML page: no script, nothing fetched."""
    return render_page(
        HERE / "comparison.html.j2",
        [HERE / "comparison.css"],
        title=page.title,
        page=page,
        tables=[build_html_table(block, rows) for block, rows in page.list_tables()],
        notes_heading=NOTES,
    )


def print_page(page: Page) -> None:
    """Print the main columns, with color and lines only in a terminal."""
    console = OutputConsole(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 100
    console.print(page.title, style="bold")
    for line in page.cautions:
        console.print(line)
    for block, rows in page.list_tables():
        console.print(f"\n{block.protocol}", style="bold")
        console.print(_build_terminal_table(rows, SIMPLE_HEAD if console.is_terminal else None))


def _build_terminal_table(rows: pd.DataFrame, box: Box | None) -> Table:
    columns = [COLUMNS_BY_TITLE[title] for title in TERMINAL if title in rows.columns]
    table = Table(box=box, pad_edge=False)
    for column in columns:
        # One word per line keeps the columns so narrow that no cell has to wrap
        heading = column.title.replace(" ", "\n")
        table.add_column(heading, justify="right" if column.title in NUMERIC_TITLES else "left")
    for row in format_cells(rows, columns, page=True):
        table.add_row(*row)
    return table
