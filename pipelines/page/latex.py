"""The comparison table for a paper: LaTeX with `booktabs`, one table for each block."""

import pandas as pd

from pipelines.compare.columns import cells
from pipelines.compare.columns import KNOWN
from pipelines.compare.columns import NUMERIC
from pipelines.page.render import Page

# What a page holds across; the other columns are in the CSV.
COLUMNS = (
    *("Variant", "Head", "Learning Rate", "Seeds", "Accuracy", "Low", "High", "SD (points)"),
    *("Reported Accuracy", "In Interval", "Gain (points)", "Gain Low", "Gain High", "p (Holm)"),
    *("P(better)", "Learning Time(ms)", "Time Ratio"),
)
SPECIAL = {sign: f"\\{sign}" for sign in "&%$#_{}"}
SPECIAL |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}"}


def latex_text(page: Page) -> str:
    """A table environment for each block; needs the packages booktabs and graphicx."""
    parts = [f"% {page.title}. Needs \\usepackage{{booktabs, graphicx}}"]
    return "\n".join([*parts, *(_table(name, rows) for name, rows in page.blocks())])


def _table(name: str, rows: pd.DataFrame) -> str:
    columns = [KNOWN[title] for title in COLUMNS if title in rows.columns]
    lines = [[column.title for column in columns], *cells(rows, columns, page=True)]
    head, *body = (" & ".join(map(_tex, line)) + r" \\" for line in lines)
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_tex(name)}}}",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{{''.join('r' if c.title in NUMERIC else 'l' for c in columns)}}}",
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


def _tex(text: str) -> str:
    return "".join(SPECIAL.get(sign, sign) for sign in text)
