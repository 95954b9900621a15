"""Cases as one self-contained HTML page: pictures, heat maps, and what was said of each."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.cases.pictures import data_uri
from pipelines.cases.pictures import heat_text
from pipelines.cases.pictures import heated
from pipelines.cases.selection import Case
from pipelines.cases.selection import hits
from pipelines.cases.selection import mistakes
from pipelines.cases.selection import siblings_text
from pipelines.compare.statement import data_set_name
from pipelines.runs.finished import FinishedRun
from pipelines.runs.protocol import caption
from pipelines.runs.protocol import plural
from study.common.html import html_page
from study.config import data_name


@dataclass(frozen=True)
class Shown:
    """What the page shows.

    run: whose cases; cases: all of its test images; count: how many of each kind to show, at most;
    pixels: uint8 (size, size, 3) by image; heat: float32 (h, w), 0 to 1, by image, empty without
    heat maps; no_heat: why there are none, "" if there are.
    """

    run: FinishedRun
    cases: Sequence[Case]
    count: int
    pixels: Mapping[str, NDArray[np.uint8]]
    heat: Mapping[str, NDArray[np.float32]]
    no_heat: str


def html_text(shown: Shown) -> str:
    """The page; the same pictures and maps give the same bytes."""
    wrong, right = mistakes(shown.cases), hits(shown.cases)
    parts = [f"<p>{_html(line)}</p>" for line in _statement(shown, len(wrong))]
    if line := _leak(shown.run):
        parts.append(f'<p class="caution">{_html(line)}</p>')
    parts.append(f"<p>{_html(_legend(shown))}</p>")
    parts += _section(shown, "The most confident mistakes", wrong, "No test image is wrong.")
    parts += _section(shown, "The least confident hits", right, "No test image is right.")
    return html_page(title(shown.run), [Path(__file__).with_name("cases.css")], parts)


def title(run: FinishedRun) -> str:
    """As `Cases of demo (synthetic) · GAP·D(8) · 0.001 · seed 0`: a folder's path stays private."""
    settings = run.config.title.removeprefix(data_name(run.config.dataset))
    return f"Cases of {data_set_name(run.config.dataset)}{settings}"


def _html(text: str) -> str:
    return escape(text).replace(" %", "&nbsp;%")


def _statement(shown: Shown, wrong: int) -> Iterator[str]:
    run, tested = shown.run, len(shown.cases)
    yield f"{caption(run, ['limit'] if run.config.limit else [])}; run {run.run_id}."
    text = f"{wrong} of {plural(tested, 'test image')} {_are(wrong)} wrong."
    groups = {case.group for case in shown.cases}
    if None in groups:
        yield f"{text} Groups are not recorded, so it is not known which images are siblings."
    else:
        of = len({case.group for case in mistakes(shown.cases)})
        yield f"{text} The mistakes are in {of} of {plural(len(groups), 'group')} tested."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _leak(run: FinishedRun) -> str:
    if run.leaking is None:
        return "It is not known how many test images have a sibling in train."
    leaking, tested = run.leaking
    if not leaking:
        return ""
    has = "has" if leaking == 1 else "have"
    return (
        f"{leaking} of {plural(tested, 'test image')} {has} a sibling in train (the same original"
        " or the same patient): a hit may be memory."
    )


def _legend(shown: Shown) -> str:
    if not shown.heat:
        return f"No heat maps: {shown.no_heat}"
    h, w = next(iter(shown.heat.values())).shape
    return (
        "Beside each image is its heat map (Grad-CAM, Selvaraju et al. 2017): the more color, up to"
        f" yellow, the more speaks there for the predicted class. It has {h} x {w} cells, drawn"
        " smoothly over the image, and is scaled to its own maximum."
    )


def _section(shown: Shown, heading: str, cases: Sequence[Case], none: str) -> Iterator[str]:
    some = list(cases[: shown.count])
    if not some:
        yield f"<h2>{heading}</h2>"
        yield f"<p>{none}</p>"
        return
    yield f"<h2>{heading}: {len(some)} of {len(cases)}</h2>"
    yield '<div class="cases">'
    for case in some:
        yield from _card(shown, case)
    yield "</div>"


def _card(shown: Shown, case: Case) -> Iterator[str]:
    pixels, heat = shown.pixels[case.image], shown.heat.get(case.image)
    yield '<figure class="case">'
    yield '<div class="pictures">'
    yield _picture(pixels, f"{case.image}, of class {case.label}")
    if heat is not None:
        yield _picture(heated(pixels, heat), heat_text(heat, case.predicted))
    yield "</div>"
    yield "<figcaption>"
    yield from (f"<p{css}>{text}</p>" for css, text in _words(case, heat))
    yield "</figcaption>"
    yield "</figure>"


def _words(case: Case, heat: NDArray[np.float32] | None) -> Iterator[tuple[str, str]]:
    """Attributes and HTML of each line below the pictures."""
    sure = _html(f"{100 * case.probability:.1f} %")
    yield "", f"said <strong>{_html(case.predicted)}</strong>, {sure}"
    yield "", f"is <strong>{_html(case.label)}</strong>"
    yield ' class="soft"', _html(case.image)
    if case.group is not None:
        yield ' class="soft"', _html(f"group {case.group}: {siblings_text(case)}")
    if heat is not None and not heat.any():
        yield (
            "",
            _html(f"The heat map is empty: no place in the image speaks for {case.predicted}."),
        )


def _picture(pixels: NDArray[np.uint8], text: str) -> str:
    return f'<img src="{data_uri(pixels)}" alt="{escape(text)}">'
