"""Print an audit on the terminal.

The report takes at most 100 columns and needs no color.
"""

import sys
from collections.abc import Sequence

from rich.console import JustifyMethod
from rich.table import Table as Grid

from study.common.progress import OutputConsole
from study.data.audit.facts import Audit
from study.data.audit.sections import build_sections
from study.data.audit.sections import list_cautions
from study.data.audit.sections import summarize_audit
from study.data.audit.texts import escape_unprintable
from study.data.audit.texts import Table

WIDTH = 100
MOST_ROWS = 12


def print_audit(audit: Audit, closing_lines: Sequence[str]) -> None:
    """Print the report on stdout, with `closing_lines` below it.

    Tables are cut after `MOST_ROWS` rows.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # A narrow encoding is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    console = OutputConsole(markup=False, emoji=False, highlight=False)
    console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    console.print(f"Audit of {escape_unprintable(audit.dataset)}", style="bold")
    console.print(summarize_audit(audit))
    for line in list_cautions(audit):
        console.print(f"! {line}")
    for section in build_sections(audit):
        console.print(f"\n{section.title}", style="bold")
        for line in section.lines:
            console.print(f"{line}")
        for table in section.tables:
            _print_table(console, table)
    console.print()
    for line in closing_lines:
        console.print(line, soft_wrap=True)


def _print_table(console: OutputConsole, table: Table) -> None:
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, heading in enumerate(table.head):
        justify: JustifyMethod = "left" if number < table.left else "right"
        grid.add_column(heading, justify=justify, overflow="fold")
    for row in table.rows[:MOST_ROWS]:
        grid.add_row(*row)
    console.print(grid)
    if more := table.more + len(table.rows[MOST_ROWS:]):
        console.print(f"and {more:,} more, in audit.json")
