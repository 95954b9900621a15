"""Write the comparison table as CSV, Markdown and HTML, and print it.

The same rows always give the same bytes.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import pandas as pd
from rich.box import Box
from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipelines.compare.blocks import Block
from pipelines.compare.columns import Column
from pipelines.compare.columns import COLUMNS_BY_TITLE
from pipelines.compare.columns import format_cells
from pipelines.compare.columns import NUMERIC_TITLES
from pipelines.compare.columns import select_columns
from pipelines.compare.table import build_table
from study.common.html import render_page
from study.common.progress import OutputConsole

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
    parts = [
        f"<p>{escape(page.statement)}</p>",
        *(f'<p class="caution">{escape(line)}</p>' for line in page.cautions),
    ]
    for block, rows in page.list_tables():
        parts += render_html_table(block.protocol, rows)
    if page.notes:
        parts += [f"<h2>{NOTES}</h2>", "<ul>"]
        parts += [*(f"<li>{escape(note)}</li>" for note in page.notes), "</ul>"]
    return render_page(page.title, [Path(__file__).with_name("comparison.css")], parts)


def render_html_table(name: str, rows: pd.DataFrame) -> list[str]:
    """Return the HTML lines of a block's table, in a region that scrolls by itself."""
    columns = select_columns(rows)
    column_groups = itertools.groupby(column.group for column in columns)
    spans = [(group, len(list(members))) for group, members in column_groups]
    return [
        f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0">',
        "<table>",
        f"<caption>{escape(name)}</caption>",
        *(f'<colgroup span="{span}"></colgroup>' for _, span in spans),
        "<thead>",
        "<tr>",
        *(f'<th scope="colgroup" colspan="{span}">{escape(group)}</th>' for group, span in spans),
        "</tr>",
        "<tr>",
        *(
            f'<th scope="col"{_render_class(column)}>{escape(column.title)}</th>'
            for column in columns
        ),
        "</tr>",
        "</thead>",
        "<tbody>",
        *(_render_html_row(columns, row) for row in format_cells(rows, columns, page=True)),
        "</tbody>",
        "</table>",
        "</div>",
    ]


def _render_html_row(columns: Sequence[Column], texts: Sequence[str]) -> str:
    row = dict(zip((column.title for column in columns), texts, strict=True))
    label = f"variant {row['Variant']}" if row["Variant"] else row["Head"]
    first = f'<th scope="row">{escape(texts[0])} <small>{escape(label)}</small></th>'
    others = [
        f"<td{_render_class(column)}>{escape(text)}</td>"
        for column, text in zip(columns[1:], texts[1:], strict=True)
    ]
    return f"<tr>{first}{''.join(others)}</tr>"


def _render_class(column: Column) -> str:
    if column.title in NUMERIC_TITLES:
        return ' class="n"'
    return ' class="ids"' if column.title == "Run IDs" else ""


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
