"""Write the comparison table as LaTeX for a paper, one table per block."""

import pandas as pd

from pipelines.compare.columns import COLUMNS_BY_TITLE
from pipelines.compare.columns import format_cells
from pipelines.compare.columns import NUMERIC_TITLES
from pipelines.page.render import Page

# The columns that fit the width of a page. The others are in the CSV.
COLUMNS = (
    *("Variant", "Head", "Learning Rate", "Seeds", "Accuracy", "Low", "High", "SD (points)"),
    *("Reported Accuracy", "In Interval", "Gain (points)", "Gain Low", "Gain High", "p (Holm)"),
    *("P(better)", "Learning Time(ms)", "Time Ratio"),
)
# How to write the characters that are special to LaTeX
SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"}
SPECIAL |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}"}


def render_latex(page: Page) -> str:
    """Return a table environment per block, for the packages booktabs and graphicx."""
    comment = f"% {page.title}. Needs \\usepackage{{booktabs, graphicx}}"
    tables = [_render_table(block.protocol, rows) for block, rows in page.list_tables()]
    return "\n".join([comment, *tables])


def _render_table(name: str, rows: pd.DataFrame) -> str:
    columns = [COLUMNS_BY_TITLE[title] for title in COLUMNS if title in rows.columns]
    alignments = "".join("r" if column.title in NUMERIC_TITLES else "l" for column in columns)
    lines = [[column.title for column in columns], *format_cells(rows, columns, page=True)]
    head, *body = (" & ".join(map(_escape_tex, line)) + r" \\" for line in lines)
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_escape_tex(name)}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{{alignments}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _escape_tex(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in text)
