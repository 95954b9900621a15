"""Make the HTML pages from Jinja2 templates, which escape every text.

The pages are self-contained, light or dark, and fetch nothing.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

COMMON = Path(__file__).parent


def render_page(template: Path, styles: Iterable[Path], **values: Any) -> str:
    """Return a whole page from a template that extends `page.html.j2`.

    Args:
        template: the template's file. It finds the templates beside it, and those in this folder.
        styles: the page's own CSS files, which come after the CSS that all pages share.
        values: what the template shows. `title` is for both the window and the heading.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, COMMON]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["keep_percents"] = keep_percents
    environment.filters["keep_rates"] = keep_rates
    return environment.get_template(template.name).render(
        style=read_files(COMMON / "page.css", *styles), **values
    )


def read_files(*files: Path) -> str:
    """Return the text of some CSS or JavaScript files, one after the other."""
    return "".join(file.read_text(encoding="utf-8") for file in files)


def keep_percents(text: str) -> str:
    """Keep each number of a text on one line with its percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def keep_rates(text: str) -> str:
    """Keep each rate of a sentence, such as `1e-5`, on one line."""
    return re.sub(r"(\de-)(?=\d)", "\\1\N{WORD JOINER}", text)
