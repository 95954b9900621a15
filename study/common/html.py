"""The frame of the HTML pages.

The pages are self-contained, light or dark, and neither run a script nor fetch anything.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path


def render_page(title: str, styles: Iterable[Path], body: Iterable[str]) -> str:
    """Return a whole page under a heading.

    Args:
        title: plain text, for both the window and the heading.
        styles: the page's own CSS files, which come after the CSS that all pages share.
        body: lines of HTML below the heading.
    """
    files = [Path(__file__).with_name("page.css"), *styles]
    style = "".join(file.read_text(encoding="utf-8") for file in files)
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{style}</style>",
        "</head>",
        "<body>",
        "<main>",
        f"<h1>{escape(title)}</h1>",
        *body,
    ]
    return "\n".join([*lines, "</main>", "</body>", "</html>"]) + "\n"
