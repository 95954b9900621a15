"""What a reader sees of a study in the real MLflow UI, in a real browser without a network."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.entities import Run
from playwright.sync_api import expect
from playwright.sync_api import Page

from pipelines.export import main as export
from study.common.command import run_command
from study.config.sweep import Sweep
from study.config.trial_config import recipe
from study.job import Options
from study.search.grid_plan import GridPlan
from study.search.run_grid import run_grid
from study.tracking import ui_links
from tests.support.browser import open_tab
from tests.support.browser import Tab
from tests.support.commands import runs_of
from tests.support.servers import new_server
from tests.support.servers import Server
from tests.support.training import InlineWorker

# What MLflow's own pages complain of
KNOWN = {
    "/ajax-api/2.0/mlflow/users/current": "asked without a login, where there is no user: 404",
    "ResizeObserver loop completed with undelivered": "the charts find their size in two steps",
}
VARIANTS = [4, 6]
# A curve may be drawn in several strokes, but each has its colour
DRAWN = """
    count => count === new Set(
        [...document.querySelectorAll(".scatterlayer .js-line")].map(line => line.style.stroke)
    ).size
"""
SECONDS = 60  # for a page to be there, however busy the machine is


@dataclass(frozen=True)
class Shown:
    """A grid of two variants on a server, its table exported, and a browser."""

    server: Server
    parent: Run
    children: list[Run]
    tab: Tab

    def open(self, place: str) -> Page:
        """A page of the UI, loaded afresh."""
        self.tab.page.goto("about:blank")
        self.tab.page.goto(f"{self.server.uri}/{place}")
        return self.tab.page

    def open_artifact(self, run: Run, path: str) -> Page:
        experiment, run_id = run.info.experiment_id, run.info.run_id
        return self.open(f"#/experiments/{experiment}/runs/{run_id}/artifacts/{path}")


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with open_tab(2400, 900) as tab:
        tab.page.set_default_timeout(1000 * SECONDS)
        expect.set_options(timeout=1000 * SECONDS)
        yield tab


@pytest.fixture(scope="module")
def server(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = new_server(tmp_path_factory.mktemp("ui"), empty_database)
    server.launch()  # while the browser starts
    yield server
    server.kill()


@pytest.fixture(scope="module")
def shown(tab: Tab, server: Server) -> Shown:
    base = recipe("demo").replace(limit=80, epochs=2)
    sweep = Sweep({"variant": tuple(VARIANTS)}, {"variant": VARIANTS[0]})
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(server.folder)
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        run_grid(GridPlan(base, sweep), Options(), [InlineWorker()])
        patch.setattr("sys.argv", ["pipelines.export", "--dataset", "demo"])
        assert run_command(export) == 0
    parent, *children = sorted(runs_of(server.client), key=lambda run: "study" not in run.data.tags)
    assert len(children) == len(VARIANTS)
    return Shown(server, parent, children, tab)


@pytest.fixture(autouse=True)
def undisturbed(tab: Tab) -> Iterator[None]:
    """Nothing leaves the machine, and nothing new is complained of."""
    tab.asked.clear()
    yield
    assert tab.left == []
    new = [error for error in tab.errors if not any(known in error for known in KNOWN)]
    tab.errors.clear()
    assert new == []
    assert len(tab.asked) > 1


def test_runs_table_shows_readable_names_and_chosen_columns(shown: Shown) -> None:
    page = shown.open(ui_links.view_link(shown.parent.info.experiment_id))
    for child in shown.children:
        expect(page.get_by_role("link", name=child.info.run_name)).to_be_visible()
    names = sorted(child.info.run_name for child in shown.children)
    rest = "seed 0 · epochs=2 limit=80"
    assert names == [
        f"demo · GAP·D(8) · 5e-3 · {rest}",
        f"demo · GAP·D(8)·D(8) · 1e-3 · {rest}",
    ]
    for column in ui_links.COLUMNS[1:-2]:  # the last are to be scrolled to
        expect(page.locator(f'.ag-header-cell[col-id="{column}"]')).to_be_visible()


def test_study_page_links_to_its_best_run(shown: Shown) -> None:
    parent = shown.parent
    page = shown.open(ui_links.run_link(parent.info.experiment_id, parent.info.run_id))
    # They may tie: "2 variants tie for the best on validation. The first of them: variant 4"
    expect(page.get_by_text("best on validation").first).to_be_visible()
    expect(page.get_by_text(": variant ").first).to_be_visible()
    for name in (
        "best_cell_val_accuracy_mean",
        "best_cell_test_accuracy_mean",
        "finished",
        "failed",
    ):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    link = page.locator("a[target=_blank]", has_text="demo · GAP")
    named = link.inner_text()
    with page.expect_popup() as popup:
        link.click()
    expect(popup.value.get_by_role("heading", name=named)).to_be_visible()
    expect(popup.value.get_by_text("test_accuracy", exact=True)).to_be_visible()
    popup.value.close()


@pytest.mark.parametrize("by_id", [False, True])
def test_charts_link_draws_the_curves_of_a_study_together(shown: Shown, *, by_id: bool) -> None:
    run_ids = [run.info.run_id for run in shown.children] if by_id else []
    info = shown.parent.info
    page = shown.open(ui_links.charts_link(info.experiment_id, info.run_id, run_ids))
    page.get_by_placeholder("Search metric charts").fill("val_accuracy")
    expect(page.locator(".js-plotly-plot")).to_have_count(1)
    page.wait_for_function(DRAWN, arg=len(VARIANTS))


def test_run_page_shows_its_curves_as_a_picture(shown: Shown) -> None:
    page = shown.open_artifact(shown.children[0], "curves.png")
    expect(page.locator("img[src^=blob]").first).to_be_visible()
    widths = page.locator("img[src^=blob]").evaluate_all("all => all.map(x => x.naturalWidth)")
    assert min(widths) > 500


def test_study_page_shows_the_comparison_table(shown: Shown) -> None:
    page = shown.open_artifact(shown.parent, "report/comparison.html")
    table = page.frame_locator("iframe")
    expect(table.get_by_role("heading", name="Comparison table: demo (synthetic)")).to_be_visible()
    for number in (0, 1):  # of the columns for readers, and of all
        rows = table.locator("table").nth(number).locator("tbody tr")
        expect(rows).to_have_count(len(VARIANTS))
