"""The frame of the HTML pages: self-contained, light and dark, no script, nothing fetched."""

from collections.abc import Iterable
from html import escape
from pathlib import Path


def html_page(title: str, styles: Iterable[Path], body: Iterable[str]) -> str:
    """A whole page under a heading.

    Args:
        title: as plain text, of the window and the heading.
        styles: the page's own CSS files, which come after what all pages share.
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
