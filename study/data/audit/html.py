"""An audit as one self-contained HTML page: no script, nothing fetched."""

from collections.abc import Iterator
from collections.abc import Sequence
from html import escape
from pathlib import Path

from study.common.html import html_page
from study.data.audit.facts import Audit
from study.data.audit.sections import cautions
from study.data.audit.sections import printable
from study.data.audit.sections import Section
from study.data.audit.sections import sections
from study.data.audit.sections import summary
from study.data.audit.sections import Table
from study.data.audit.thumbnails import Picture
from study.data.audit.thumbnails import Strip

MOST_ROWS = 5000  # of a table: a page for people; audit.json has all


def html_text(audit: Audit, strips: Sequence[Strip]) -> str:
    """The page; the same audit gives the same bytes."""
    parts = [
        f"<p>{_html(summary(audit))}</p>",
        *(f'<p class="caution">{_html(line)}</p>' for line in cautions(audit)),
    ]
    for section in sections(audit):
        parts += _section(section)
    parts += _gallery(strips)
    title = f"Audit of {printable(audit.dataset)}"
    return html_page(title, [Path(__file__).with_name("audit.css")], parts)


def _text(name: str) -> str:
    return _html(printable(name))


def _html(text: str) -> str:
    return escape(text).replace(" %", "&nbsp;%")


def _section(section: Section) -> Iterator[str]:
    yield f"<h2>{_html(section.title)}</h2>"
    for line in section.lines:
        yield f"<p>{_html(line)}</p>"
    for table in section.tables:
        yield from _table(table, section.title)


def _table(table: Table, label: str) -> Iterator[str]:
    yield f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0">'
    yield "<table>"
    yield "<thead>"
    yield _row(table, table.head, '<th scope="col"{}>{}</th>', '<th scope="col"{}>{}</th>')
    yield "</thead>"
    yield "<tbody>"
    for row in table.rows[:MOST_ROWS]:
        yield _row(table, row, '<th scope="row"{}>{}</th>', "<td{}>{}</td>")
    yield "</tbody>"
    yield "</table>"
    yield "</div>"
    if more := table.more + len(table.rows[MOST_ROWS:]):
        yield f"<p>And {more:,} more, in audit.json.</p>"


def _row(table: Table, texts: Sequence[str], first: str, other: str) -> str:
    cells = []
    for number, text in enumerate(texts):
        css = "" if number < table.left else ' class="n"'
        cells.append((other if number else first).format(css, _html(text)))
    return f"<tr>{''.join(cells)}</tr>"


def _gallery(strips: Sequence[Strip]) -> Iterator[str]:
    yield "<h2>The largest groups</h2>"
    if not strips:
        yield "<p>No group has two images.</p>"
    else:
        yield "<p>Some images of each, with their part in the pooled split.</p>"
    for strip in strips:
        yield '<figure class="strip">'
        yield f"<figcaption>{_html(caption(strip))}</figcaption>"
        yield '<div class="pictures">'
        yield from (_picture(picture) for picture in strip.pictures)
        yield "</div>"
        yield "</figure>"


def caption(strip: Strip) -> str:
    """As `monocyte/original07 (monocyte), 26 images: 17 train, 4 val, 5 test`."""
    classes = ", ".join(map(printable, strip.classes))
    parts = ", ".join(f"{count:,} {part}" for part, count in strip.parts.items())
    text = f"{printable(strip.group)} ({classes}), {strip.count:,} images"
    return f"{text}: {parts}" if parts else text


def _picture(picture: Picture) -> str:
    name = _text(picture.image)
    css = f' class="{picture.part}"' if picture.part else ""
    return (
        f"<figure{css}>"
        f'<img src="{picture.uri}" alt="{name}" title="{name}">'
        f"<figcaption>{picture.part or 'unused'}</figcaption>"
        "</figure>"
    )
