"""An audit on the terminal: 100 columns at most, no color needed."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.console import JustifyMethod
from rich.table import Table as Grid

from study.data.audit.facts import Audit
from study.data.audit.sections import cautions
from study.data.audit.sections import printable
from study.data.audit.sections import sections
from study.data.audit.sections import summary
from study.data.audit.sections import Table

WIDTH = 100
MOST_ROWS = 12


def print_audit(audit: Audit, last_words: Sequence[str]) -> None:
    """The report on stdout, tables cut after `MOST_ROWS` rows, and `last_words` below it."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a narrow encoding is no reason to fail
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    console.print(f"Audit of {printable(audit.dataset)}", style="bold")
    console.print(summary(audit))
    for line in cautions(audit):
        console.print(f"! {line}")
    for section in sections(audit):
        console.print(f"\n{section.title}", style="bold")
        for line in section.lines:
            console.print(f"{line}")
        for table in section.tables:
            _print_table(console, table)
    console.print()
    for line in last_words:
        console.print(line, soft_wrap=True)


def _print_table(console: Console, table: Table) -> None:
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, heading in enumerate(table.head):
        side: JustifyMethod = "left" if number < table.left else "right"
        grid.add_column(heading, justify=side, overflow="fold")
    for row in table.rows[:MOST_ROWS]:
        grid.add_row(*row)
    console.print(grid)
    if more := table.more + len(table.rows[MOST_ROWS:]):
        console.print(f"and {more:,} more, in audit.json")
