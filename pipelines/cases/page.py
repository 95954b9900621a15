"""Write cases as one self-contained HTML page: pictures, heat maps, predictions."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.cases.pictures import describe_heat
from pipelines.cases.pictures import encode_data_uri
from pipelines.cases.pictures import overlay_heat
from pipelines.cases.selection import Case
from pipelines.cases.selection import describe_siblings
from pipelines.cases.selection import select_hits
from pipelines.cases.selection import select_mistakes
from pipelines.compare.statement import format_dataset_name
from pipelines.runs.finished import FinishedRun
from pipelines.runs.protocol import describe_protocol
from pipelines.runs.protocol import pluralize
from study.common.html import render_page
from study.config import data_name


@dataclass(frozen=True)
class CasesView:
    """The content of a run's page."""

    run: FinishedRun
    cases: Sequence[Case]  # all test images of the run
    count: int  # cases to show of each kind, at most
    pixels: Mapping[str, NDArray[np.uint8]]  # by image, each (size, size, 3)
    heat: Mapping[str, NDArray[np.float32]]  # by image, each (h, w), 0 to 1; empty without maps
    no_heat_reason: str  # why there are no heat maps, "" if there are


def render_cases(view: CasesView) -> str:
    """Return the page as HTML. The same pictures and maps give the same bytes."""
    wrong = select_mistakes(view.cases)
    right = select_hits(view.cases)
    parts = [f"<p>{_escape_html(line)}</p>" for line in _describe_run(view, wrong)]
    if line := _describe_leak(view.run):
        parts.append(f'<p class="caution">{_escape_html(line)}</p>')
    parts.append(f"<p>{_escape_html(_write_legend(view))}</p>")
    parts += _render_section(view, "The most confident mistakes", wrong, "No test image is wrong.")
    parts += _render_section(view, "The least confident hits", right, "No test image is right.")
    return render_page(format_title(view.run), [Path(__file__).with_name("cases.css")], parts)


def format_title(run: FinishedRun) -> str:
    """Return the heading: `Cases of demo (synthetic) · GAP·D(8) · 0.001 · seed 0`.

    Of a folder only the name appears, because its path is private.
    """
    settings = run.config.title.removeprefix(data_name(run.config.dataset))
    return f"Cases of {format_dataset_name(run.config.dataset)}{settings}"


def _escape_html(text: str) -> str:
    """Escape a text, and keep each number on one line with its percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def _describe_run(view: CasesView, wrong: Sequence[Case]) -> Iterator[str]:
    """Yield the protocol of the run, and how many test images and groups are wrong."""
    run = view.run
    yield f"{describe_protocol(run, ['limit'] if run.config.limit else [])}; run {run.run_id}."
    verb = "is" if len(wrong) == 1 else "are"
    text = f"{len(wrong)} of {pluralize(len(view.cases), 'test image')} {verb} wrong."
    groups = {case.group for case in view.cases}
    if None in groups:
        yield f"{text} Groups are not recorded, so it is not known which images are siblings."
    else:
        wrong_groups = {case.group for case in wrong}
        all_groups = pluralize(len(groups), "group")
        yield f"{text} The mistakes are in {len(wrong_groups)} of {all_groups} tested."


def _describe_leak(run: FinishedRun) -> str:
    """Return a sentence on the test images with a sibling in train, "" if none has."""
    if run.leaking is None:
        return "It is not known how many test images have a sibling in train."
    leaking_count, test_count = run.leaking
    if not leaking_count:
        return ""
    verb = "has" if leaking_count == 1 else "have"
    return (
        f"{leaking_count} of {pluralize(test_count, 'test image')} {verb} a sibling in train"
        " (the same original or the same patient): a hit may be memory."
    )


def _write_legend(view: CasesView) -> str:
    if not view.heat:
        return f"No heat maps: {view.no_heat_reason}"
    height, width = next(iter(view.heat.values())).shape
    return (
        "Beside each image is its heat map (Grad-CAM, Selvaraju et al. 2017): the more color, up to"
        " yellow, the more speaks there for the predicted class."
        f" It has {height} x {width} cells, drawn smoothly over the image, and is scaled to its own"
        " maximum."
    )


def _render_section(
    view: CasesView, heading: str, cases: Sequence[Case], empty_text: str
) -> Iterator[str]:
    selected = cases[: view.count]
    if not selected:
        yield f"<h2>{heading}</h2>"
        yield f"<p>{empty_text}</p>"
        return
    yield f"<h2>{heading}: {len(selected)} of {len(cases)}</h2>"
    yield '<div class="cases">'
    for case in selected:
        yield from _render_card(view, case)
    yield "</div>"


def _render_card(view: CasesView, case: Case) -> Iterator[str]:
    pixels = view.pixels[case.image]
    heat = view.heat.get(case.image)
    yield '<figure class="case">'
    yield '<div class="pictures">'
    yield _render_picture(pixels, f"{case.image}, of class {case.label}")
    if heat is not None:
        yield _render_picture(overlay_heat(pixels, heat), describe_heat(heat, case.predicted))
    yield "</div>"
    yield "<figcaption>"
    yield from (f"<p{css}>{text}</p>" for css, text in _describe_case(case, heat))
    yield "</figcaption>"
    yield "</figure>"


def _describe_case(case: Case, heat: NDArray[np.float32] | None) -> Iterator[tuple[str, str]]:
    """Yield the attributes and the HTML of each line below the pictures."""
    probability = _escape_html(f"{100 * case.probability:.1f} %")
    yield "", f"said <strong>{_escape_html(case.predicted)}</strong>, {probability}"
    yield "", f"is <strong>{_escape_html(case.label)}</strong>"
    yield ' class="soft"', _escape_html(case.image)
    if case.group is not None:
        yield ' class="soft"', _escape_html(f"group {case.group}: {describe_siblings(case)}")
    if heat is not None and not heat.any():
        text = f"The heat map is empty: no place in the image speaks for {case.predicted}."
        yield "", _escape_html(text)


def _render_picture(pixels: NDArray[np.uint8], alternative: str) -> str:
    return f'<img src="{encode_data_uri(pixels)}" alt="{escape(alternative)}">'
