"""Write the comparison table as CSV, Markdown and HTML, and print it.

The same rows always give the same bytes.
"""

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from rich.box import Box
from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipelines.compare.block_sentences import describe_block
from pipelines.compare.blocks import Block
from pipelines.compare.columns import format_cells
from pipelines.compare.columns import select_columns
from pipelines.compare.short_table import select_short_columns
from pipelines.compare.short_table import write_short_rows
from pipelines.compare.table import build_table
from pipelines.page.html_table import build_block_tables
from study.common.html import render_page
from study.common.progress import OutputConsole

HERE = Path(__file__).parent
NOTES = "Notes on the reported figures (misprints are corrected above)"
# An interval needs a line of its own below this width
WIDE = 120
UNLIMITED = 1000  # to measure how wide a table is by itself


@dataclass(frozen=True)
class Page:
    """The comparison table and the text around it."""

    title: str
    statement: str
    cautions: list[str]
    blocks: list[Block]
    notes: list[str]
    data_name: str = ""  # of the newest run's data set

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
    parts = [f"# {_escape_markdown(page.title)}", _escape_markdown(page.statement)]
    parts += [f"**{_escape_markdown(line)}**" for line in page.cautions]
    for block, rows in page.list_tables():
        columns = select_short_columns(block, rows)
        alignments = ["---:" if column.is_numeric else "---" for column in columns]
        lines = [_render_markdown_row([column.title for column in columns])]
        lines.append(_render_markdown_row(alignments, raw=True))
        lines += [_render_markdown_row(row) for row in write_short_rows(block, rows, columns)]
        parts += [f"## {_escape_markdown(block.caption)}", "\n".join(lines)]
        parts += [_escape_markdown(sentence) for sentence in describe_block(block)]
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
        tables=[build_block_tables(block, rows) for block, rows in page.list_tables()],
        notes_heading=NOTES,
    )


def print_page(page: Page) -> None:
    """Print the columns for readers, with color and lines only in a terminal."""
    console = OutputConsole(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    console.print(page.title, style="bold")
    for line in page.cautions:
        console.print(line)
    box = SIMPLE_HEAD if console.is_terminal else None
    for block, rows in page.list_tables():
        console.print("", *block.caption_parts, sep="\n", style="bold")
        table = _build_terminal_table(block, rows, box, is_wide=True)
        width = console.measure(table, options=console.options.update(width=UNLIMITED)).maximum
        if console.width < max(WIDE, width):
            table = _build_terminal_table(block, rows, box, is_wide=False)
        console.print(table)
        for sentence in describe_block(block):
            console.print(f"\n{sentence}")


def _build_terminal_table(
    block: Block, rows: pd.DataFrame, box: Box | None, *, is_wide: bool
) -> Table:
    columns = select_short_columns(block, rows)
    # An interval has a line of its own where there is no room.
    bracket = " (" if is_wide else "\n("
    lines = [
        [text.replace(" (", bracket) for text in texts]
        for texts in write_short_rows(block, rows, columns)
    ]
    table = Table(box=box, pad_edge=False, collapse_padding=True)
    for column, cells in zip(columns, zip(*lines, strict=True), strict=True):
        width = max(len(line) for cell in cells for line in cell.splitlines() or [""])
        heading = _break_heading(column.title, width)
        table.add_column(heading, justify="right" if column.is_numeric else "left")
    for line in lines:
        table.add_row(*line)
    return table


def _break_heading(title: str, width: int) -> str:
    """Break a heading into lines as short as its cells, or as its longest word."""
    name, bracket, interval = title.partition(" (")
    lines = textwrap.wrap(name, max(width, 1), break_long_words=False)
    return "\n".join([*lines, f"({interval}"] if bracket else lines)
