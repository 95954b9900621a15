"""Render an audit as one self-contained HTML page.

The page has no script and fetches nothing.
"""

from collections.abc import Sequence
from pathlib import Path

from study.common.html import render_page
from study.data.audit.facts import Audit
from study.data.audit.sections import build_sections
from study.data.audit.sections import list_cautions
from study.data.audit.sections import summarize_audit
from study.data.audit.texts import escape_unprintable
from study.data.audit.thumbnails import Strip

HERE = Path(__file__).parent
# People read the page, so its tables are cut. audit.json has all rows.
MOST_ROWS = 5000


def render_audit(audit: Audit, strips: Sequence[Strip]) -> str:
    """Render the page.

    The same audit gives the same bytes.
    """
    return render_page(
        HERE / "audit.html.j2",
        [HERE / "audit.css"],
        title=f"Audit of {escape_unprintable(audit.dataset)}",
        summary=summarize_audit(audit),
        cautions=list_cautions(audit),
        sections=build_sections(audit),
        most_rows=MOST_ROWS,
        strips=strips,
        format_caption=format_caption,
        escape_unprintable=escape_unprintable,
    )


def format_caption(strip: Strip) -> str:
    """Return the caption of a strip.

    Such as `monocyte/original07 (monocyte), 26 images: 17 train, 4 val, 5 test`.
    """
    classes = ", ".join(map(escape_unprintable, strip.classes))
    parts = ", ".join(f"{count:,} {part}" for part, count in strip.parts.items())
    text = f"{escape_unprintable(strip.group)} ({classes}), {strip.count:,} images"
    return f"{text}: {parts}" if parts else text
