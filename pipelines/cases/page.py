"""Write cases as one self-contained HTML page: pictures, heat maps, predictions."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
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
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.protocol import describe_protocol
from study.common.html import render_page
from study.common.words import pluralize
from study.config.dataset_names import data_name
from study.config.names import make_trial_title

HERE = Path(__file__).parent


@dataclass(frozen=True)
class CasesView:
    """The content of a run's page."""

    run: FinishedRun
    cases: Sequence[Case]  # all test images of the run
    count: int  # cases to show of each kind, at most
    pixels: Mapping[str, NDArray[np.uint8]]  # by image, each (size, size, 3)
    heat: Mapping[str, NDArray[np.float32]]  # by image, each (h, w), 0 to 1; empty without maps
    no_heat_reason: str  # why there are no heat maps, "" if there are


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with a description for readers who cannot see it."""

    uri: str
    alternative: str


@dataclass(frozen=True)
class Card:
    """A case as the page shows it."""

    case: Case
    pictures: list[Picture]
    siblings: str  # a sentence on them, "" if they are not known
    heat_is_empty: bool


@dataclass(frozen=True)
class Section:
    """A heading with the cards under it, or with a text if there are none."""

    heading: str
    cards: list[Card]
    empty_text: str


def render_cases(view: CasesView) -> str:
    """Return the page as HTML. The same pictures and maps give the same bytes."""
    wrong = select_mistakes(view.cases)
    right = select_hits(view.cases)
    return render_page(
        HERE / "cases.html.j2",
        [HERE / "cases.css"],
        title=format_title(view.run),
        description=_describe_run(view, wrong),
        caution=_describe_leak(view.run),
        legend=_write_legend(view),
        sections=[
            _build_section(view, "The most confident mistakes", wrong, "No prediction is wrong."),
            _build_section(view, "The least confident hits", right, "No prediction is right."),
        ],
    )


def format_title(run: FinishedRun) -> str:
    """Return the heading: `Cases of demo (synthetic) · GAP·D(8) · 1e-3 · seed 0`.

    Of a folder only the name appears, because its path is private.
    """
    title = make_trial_title(run.config, run.name_digest)
    rest = title.removeprefix(data_name(run.config.dataset, run.name_digest))
    return f"Cases of {format_dataset_name(run)}{rest}"


def _describe_run(view: CasesView, wrong: Sequence[Case]) -> Iterator[str]:
    """Yield the protocol of the run, and how many test images and groups are wrong."""
    run = view.run
    yield f"{describe_protocol(run, ['limit'] if run.config.limit else [])}; run {run.run_id}."
    text = f"Wrong predictions: {len(wrong)} of {pluralize(len(view.cases), 'test image')}."
    groups = {case.group for case in view.cases}
    if None in groups:
        yield f"{text} Groups are not recorded, so it is not known which images are siblings."
    else:
        wrong_groups = {case.group for case in wrong}
        all_groups = pluralize(len(groups), "group")
        yield f"{text} The mistakes are in {len(wrong_groups)} of {all_groups}."


def _describe_leak(run: FinishedRun) -> str:
    """Return a sentence on the test images with a sibling in training, "" if none has."""
    if run.least_leaking is None:
        return "It is not known how many test images have a sibling in training."
    leaking_count, test_count = run.least_leaking
    if not leaking_count:
        return ""
    count = f"{leaking_count} of {pluralize(test_count, 'test image')}"
    verb = "has" if leaking_count == 1 else "have"
    return (
        f"{count if run.leaking else f'At least {count}'} {verb} a sibling in training"
        " (an image of the same patient or original), so a right answer may be memory."
    )


def _write_legend(view: CasesView) -> str:
    if not view.heat:
        return f"No heat maps: {view.no_heat_reason}."
    height, width = next(iter(view.heat.values())).shape
    return (
        "Beside each image is its heat map (Grad-CAM, Selvaraju et al. 2017):"
        " the brighter a place, up to yellow, the more it supports the predicted class."
        f" The map has {height} x {width} cells, is smoothed, and is scaled to its own maximum."
    )


def _build_section(
    view: CasesView, heading: str, cases: Sequence[Case], empty_text: str
) -> Section:
    selected = cases[: view.count]
    if selected:
        heading = f"{heading}: {len(selected)} of {len(cases)}"
    return Section(heading, [_build_card(view, case) for case in selected], empty_text)


def _build_card(view: CasesView, case: Case) -> Card:
    pixels = view.pixels[case.image]
    heat = view.heat.get(case.image)
    pictures = [Picture(encode_data_uri(pixels), f"{case.image}, of class {case.label}")]
    if heat is not None:
        overlay = encode_data_uri(overlay_heat(pixels, heat))
        pictures.append(Picture(overlay, describe_heat(heat, case.predicted)))
    siblings = "" if case.group is None else f"group {case.group}: {describe_siblings(case)}"
    return Card(case, pictures, siblings, heat_is_empty=heat is not None and not heat.any())
