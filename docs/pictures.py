"""Draw the pictures of README and docs anew, from the results kept here and from a demo.

    make demo
    make ui PORT=5000                            # in another terminal
    python -m docs.pictures --ui http://127.0.0.1:5000

Without --ui, the pictures of the MLflow UI stay as they are. It needs Chromium.
"""

import argparse
import os
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from study.common.command import run_command
from study.common.errors import StudyError
from study.common.parser import Parser
from study.tracking.connection import connect
from study.tracking.ui_links import run_link
from study.tracking.ui_links import view_link
from tests.support.browser import locate_chromium
from tests.support.browser import NO_CHROMIUM
from tests.support.browser import open_tab

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COLORS = 128  # of a picture's palette: a third of the bytes, and no difference to see
LOADING_SECONDS = 6
CLOSE_ASSISTANT = '[data-component-id="mlflow.assistant.chat_panel.close"]'
MARGIN = 8  # pixels above the first group


def draw_report() -> None:
    """Draw the first screen of the report on chest."""
    with open_tab(1160, 1410) as tab:
        tab.page.goto((ROOT / "results/h200/chest/report.html").as_uri())
        _save(tab.page, DOCS / "report.png")


def draw_groups() -> None:
    """Draw the three largest groups of the audit of blood."""
    with open_tab(1060, 900) as tab:
        tab.page.goto((ROOT / "results/audit/blood/audit.html").as_uri())
        strips = tab.page.locator("figure.strip")
        first = strips.nth(0).bounding_box()
        last = strips.nth(2).bounding_box()
        if first is None or last is None:
            raise StudyError("results/audit/blood/audit.html has no three groups with pictures")
        top = first["y"] - MARGIN
        tab.page.set_viewport_size({"width": 1060, "height": int(last["y"] + last["height"]) + 1})
        clip = {"x": 0.0, "y": top, "width": 1060.0, "height": last["y"] + last["height"] - top}
        _save(tab.page, ROOT / "results/audit/blood.png", clip)


def draw_ui(address: str) -> None:
    """Draw the page of the demo's study, and the table of its runs.

    Raises:
        StudyError: the server does not answer, or has no finished study of the demo.
    """
    os.environ["MLFLOW_TRACKING_URI"] = address
    client = connect()
    experiment = client.get_experiment_by_name("demo")
    studies = experiment and client.search_runs(
        [experiment.experiment_id], "attributes.run_name LIKE 'demo · 7 variants%'", max_results=1
    )
    if not experiment or not studies:
        raise StudyError(f"{address} has no study of the demo: make demo, then make ui")
    links = {
        "mlflow-study.png": run_link(experiment.experiment_id, studies[0].info.run_id),
        "mlflow-runs.png": view_link(experiment.experiment_id),
    }
    for name, link in links.items():
        with open_tab(1500, 640) as tab:
            tab.page.goto(f"{address}/{link}")
            run_name = tab.page.get_by_text("demo · GAP·D(16)").filter(visible=True)
            run_name.first.wait_for(timeout=60_000)
            tab.page.wait_for_timeout(1000 * LOADING_SECONDS)
            for button in (tab.page.locator(CLOSE_ASSISTANT), tab.page.get_by_text("Show more")):
                if button.is_visible():
                    button.click()
            _save(tab.page, DOCS / name)


def _save(page: Page, path: Path, clip: dict[str, float] | None = None) -> None:
    """Save what is in view, or a part of it, with few colors."""
    page.wait_for_timeout(1000 * LOADING_SECONDS)
    page.screenshot(path=path, animations="disabled", clip=clip)  # type: ignore[arg-type]
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLORS).save(path, optimize=True)
    print(path.relative_to(ROOT))


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__ or "", "docs.pictures")
    parser.add_argument("--ui", metavar="URL", help="address of an MLflow server with a demo")
    return parser


def main() -> None:
    """Run the command."""
    args = _make_parser().parse_args()
    if locate_chromium() is None:
        raise StudyError(NO_CHROMIUM)
    draw_report()
    draw_groups()
    if args.ui:
        draw_ui(args.ui)


if __name__ == "__main__":
    sys.exit(run_command(main))
