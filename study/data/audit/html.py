"""Render an audit as one self-contained HTML page.

The page has no script and fetches nothing.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from html import escape
from pathlib import Path

from study.common.html import render_page
from study.data.audit.facts import Audit
from study.data.audit.sections import cautions
from study.data.audit.sections import printable
from study.data.audit.sections import Section
from study.data.audit.sections import sections
from study.data.audit.sections import summary
from study.data.audit.sections import Table
from study.data.audit.thumbnails import Picture
from study.data.audit.thumbnails import Strip

# People read the page, so its tables are cut. audit.json has all rows.
MOST_ROWS = 5000


def html_text(audit: Audit, strips: Sequence[Strip]) -> str:
    """Render the page.

    The same audit gives the same bytes.
    """
    blocks = [
        f"<p>{_escape_text(summary(audit))}</p>",
        *(f'<p class="caution">{_escape_text(line)}</p>' for line in cautions(audit)),
    ]
    for section in sections(audit):
        blocks += _render_section(section)
    blocks += _render_gallery(strips)
    title = f"Audit of {printable(audit.dataset)}"
    return render_page(title, [Path(__file__).with_name("audit.css")], blocks)


def _escape_name(name: str) -> str:
    return _escape_text(printable(name))


def _escape_text(text: str) -> str:
    return escape(text).replace(" %", "&nbsp;%")


def _render_section(section: Section) -> Iterator[str]:
    yield f"<h2>{_escape_text(section.title)}</h2>"
    for line in section.lines:
        yield f"<p>{_escape_text(line)}</p>"
    for table in section.tables:
        yield from _render_table(table, section.title)


def _render_table(table: Table, label: str) -> Iterator[str]:
    yield f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0">'
    yield "<table>"
    yield "<thead>"
    yield _render_row(table, table.head, '<th scope="col"{}>{}</th>', '<th scope="col"{}>{}</th>')
    yield "</thead>"
    yield "<tbody>"
    for row in table.rows[:MOST_ROWS]:
        yield _render_row(table, row, '<th scope="row"{}>{}</th>', "<td{}>{}</td>")
    yield "</tbody>"
    yield "</table>"
    yield "</div>"
    if more := table.more + len(table.rows[MOST_ROWS:]):
        yield f"<p>And {more:,} more, in audit.json.</p>"


def _render_row(table: Table, texts: Sequence[str], first: str, other: str) -> str:
    cells = []
    for number, text in enumerate(texts):
        css = "" if number < table.left else ' class="n"'
        cells.append((other if number else first).format(css, _escape_text(text)))
    return f"<tr>{''.join(cells)}</tr>"


def _render_gallery(strips: Sequence[Strip]) -> Iterator[str]:
    yield "<h2>The largest groups</h2>"
    if not strips:
        yield "<p>No group has two images.</p>"
    else:
        yield "<p>Some images of each, with their part in the pooled split.</p>"
    for strip in strips:
        yield '<figure class="strip">'
        yield f"<figcaption>{_escape_text(caption(strip))}</figcaption>"
        yield '<div class="pictures">'
        yield from (_render_picture(picture) for picture in strip.pictures)
        yield "</div>"
        yield "</figure>"


def caption(strip: Strip) -> str:
    """Return the caption of a strip.

    Such as `monocyte/original07 (monocyte), 26 images: 17 train, 4 val, 5 test`.
    """
    classes = ", ".join(map(printable, strip.classes))
    parts = ", ".join(f"{count:,} {part}" for part, count in strip.parts.items())
    text = f"{printable(strip.group)} ({classes}), {strip.count:,} images"
    return f"{text}: {parts}" if parts else text


def _render_picture(picture: Picture) -> str:
    name = _escape_name(picture.image)
    css = f' class="{picture.part}"' if picture.part else ""
    return (
        f"<figure{css}>"
        f'<img src="{picture.uri}" alt="{name}" title="{name}">'
        f"<figcaption>{picture.part or 'unused'}</figcaption>"
        "</figure>"
    )
