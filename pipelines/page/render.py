"""A table as CSV, Markdown, HTML and terminal output: same rows in, same bytes out."""

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

import pandas as pd
from rich.box import Box
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipelines.compare.columns import BLOCK
from pipelines.compare.columns import cells
from pipelines.compare.columns import Column
from pipelines.compare.columns import columns_of
from pipelines.compare.columns import KNOWN
from pipelines.compare.columns import NUMERIC
from study.common.html import html_page

NOTES = "Notes on the reported figures (misprints are corrected above)"
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
    """What a reader gets: a table and the words around it."""

    title: str
    statement: str
    cautions: list[str]
    table: pd.DataFrame
    notes: list[str]

    def blocks(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Protocol and rows of each block, in order."""
        for name, rows in self.table.groupby(BLOCK, sort=False):
            yield str(name), rows


def csv_text(page: Page) -> str:
    """All columns, numbers unadorned."""
    columns = columns_of(page.table)
    frame = pd.DataFrame(
        cells(page.table, columns, page=False), columns=[column.title for column in columns]
    )
    return frame.to_csv(index=False, lineterminator="\n")


def markdown_text(page: Page) -> str:
    """GitHub-flavored Markdown: the statement, the cautions, a table for each block."""
    columns = columns_of(page.table)
    parts = [f"# {_md(page.title)}", _md(page.statement)]
    parts += [f"**{_md(line)}**" for line in page.cautions]
    for name, rows in page.blocks():
        lines = [_md_row([column.title for column in columns])]
        lines.append(_md_row(["---:" if c.title in NUMERIC else "---" for c in columns], raw=True))
        lines += [_md_row(row) for row in cells(rows, columns, page=True)]
        parts += [f"## {_md(name)}", "\n".join(lines)]
    if page.notes:
        parts += [f"## {NOTES}", "\n".join(f"- {_md(note)}" for note in page.notes)]
    return "\n\n".join(parts) + "\n"


def _md_row(texts: Sequence[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(text if raw else _md(text) for text in texts) + " |"


def _md(text: str) -> str:
    for sign in "\\|<>*_`":
        text = text.replace(sign, "\\" + sign)
    return text


def html_text(page: Page) -> str:
    """One self-contained page: no script, nothing fetched."""
    parts = [
        f"<p>{escape(page.statement)}</p>",
        *(f'<p class="caution">{escape(line)}</p>' for line in page.cautions),
    ]
    for name, rows in page.blocks():
        parts += html_table(name, rows)
    if page.notes:
        parts += [f"<h2>{NOTES}</h2>", "<ul>"]
        parts += [*(f"<li>{escape(note)}</li>" for note in page.notes), "</ul>"]
    return html_page(page.title, [Path(__file__).with_name("comparison.css")], parts)


def html_table(name: str, rows: pd.DataFrame) -> list[str]:
    """A block's table, in a region of its own that scrolls."""
    columns = columns_of(rows)
    groups = [(group, len(list(members))) for group, members in groupby(c.group for c in columns)]
    return [
        f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0">',
        "<table>",
        f"<caption>{escape(name)}</caption>",
        *(f'<colgroup span="{span}"></colgroup>' for _, span in groups),
        "<thead>",
        "<tr>",
        *(f'<th scope="colgroup" colspan="{span}">{escape(group)}</th>' for group, span in groups),
        "</tr>",
        "<tr>",
        *(f'<th scope="col"{_css(column)}>{escape(column.title)}</th>' for column in columns),
        "</tr>",
        "</thead>",
        "<tbody>",
        *(_html_row(columns, row) for row in cells(rows, columns, page=True)),
        "</tbody>",
        "</table>",
        "</div>",
    ]


def _html_row(columns: Sequence[Column], texts: Sequence[str]) -> str:
    row = dict(zip((column.title for column in columns), texts, strict=True))
    label = f"variant {row['Variant']}" if row["Variant"] else f"{row['Head']}"
    first = f'<th scope="row">{escape(texts[0])} <small>{escape(label)}</small></th>'
    others = [
        f"<td{_css(column)}>{escape(text)}</td>"
        for column, text in zip(columns[1:], texts[1:], strict=True)
    ]
    return f"<tr>{first}{''.join(others)}</tr>"


def _css(column: Column) -> str:
    if column.title in NUMERIC:
        return ' class="n"'
    return ' class="ids"' if column.title == "Run IDs" else ""


def print_page(page: Page) -> None:
    """The columns that fit 100 characters; no color and no lines unless it is a terminal."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 100
    console.print(page.title, style="bold")
    for line in page.cautions:
        console.print(line)
    for name, rows in page.blocks():
        console.print(f"\n{name}", style="bold")
        console.print(_terminal_table(rows, SIMPLE_HEAD if console.is_terminal else None))


def _terminal_table(rows: pd.DataFrame, box: Box | None) -> Table:
    columns = [KNOWN[title] for title in TERMINAL if title in rows.columns]
    table = Table(box=box, pad_edge=False)
    for column in columns:
        heading = column.title.replace(" ", "\n")  # narrow, so that no cell has to wrap
        table.add_column(heading, justify="right" if column.title in NUMERIC else "left")
    for row in cells(rows, columns, page=True):
        table.add_row(*row)
    return table
