"""Write the comparison table as LaTeX for a paper, one table per block."""

import pandas as pd

from pipelines.compare.blocks import Block
from pipelines.compare.short_table import select_short_columns
from pipelines.compare.short_table import write_short_rows
from pipelines.page.render import Page

# How to write the characters that are special to LaTeX
SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"}
SPECIAL |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}"}


def render_latex(page: Page) -> str:
    """Return a table environment per block, for the packages booktabs and graphicx."""
    comment = f"% {page.title}. Needs \\usepackage{{booktabs, graphicx}}"
    tables = [_render_table(block, rows) for block, rows in page.list_tables()]
    return "\n".join([comment, *tables])


def _render_table(block: Block, rows: pd.DataFrame) -> str:
    columns = select_short_columns(block, rows)
    alignments = "".join("r" if column.is_numeric else "l" for column in columns)
    lines = [[column.title for column in columns], *write_short_rows(block, rows, columns)]
    head, *body = (" & ".join(map(_escape_tex, line)) + r" \\" for line in lines)
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_escape_tex(block.caption)}}}",
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
