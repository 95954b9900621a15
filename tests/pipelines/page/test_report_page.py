"""The report in a real browser: drawn, sortable, readable by all, and silent on the network."""

from pathlib import Path

import pytest

from pipelines import report
from pipelines.page.export_report import build_report
from pipelines.page.files import write_text
from pipelines.page.report_page import render_report
from study.common.errors import StudyError
from tests.support.browser import find_accessibility_violations
from tests.support.browser import find_chromium
from tests.support.browser import open_tab
from tests.support.browser import Tab
from tests.support.store import write_chest_study

DRAWN = "[...document.querySelectorAll('.chart')].every(c => c.querySelector('.main-svg'))"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the seven variants with two seeds."""
    find_chromium()
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", write_chest_study(folder, seeds=2))
        return write_text(folder, "report.html", render_report(build_report("chest")))


def open_page(tab: Tab, page: Path) -> None:
    tab.page.goto(page.as_uri())
    tab.page.wait_for_function(DRAWN)


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False)])
def test_report_page_is_drawn_and_accessible(page: Path, width: int, dark: bool) -> None:
    with open_tab(width, dark=dark) as tab:
        open_page(tab, page)
        assert (tab.asked, tab.left, tab.errors) == ([page.as_uri()], [], [])
        assert tab.page.locator(".chart").count() == 9
        assert find_accessibility_violations(tab.page) == []
        assert tab.page.evaluate("document.documentElement.scrollWidth") == width


def test_click_on_a_heading_sorts_the_table(page: Path) -> None:
    with open_tab() as tab:
        open_page(tab, page)
        for order in ("ascending", "descending"):
            tab.page.locator("thead button", has_text="Accuracy (95 % interval)").click()
            heads = tab.page.locator(f'th[aria-sort="{order}"]')
            assert [text.split()[0] for text in heads.all_inner_texts()] == ["Accuracy"]
            table = tab.page.locator("table").first
            cells = table.locator("tbody tr td:nth-child(4)").all_inner_texts()
            percents = [float(cell.split()[0]) for cell in cells]
            assert percents == sorted(percents, reverse=order == "descending")


def test_all_columns_of_the_table_open_on_a_click(page: Path) -> None:
    with open_tab() as tab:
        open_page(tab, page)
        whole = tab.page.locator("table").nth(1)
        assert not whole.is_visible()
        tab.page.locator("summary", has_text="columns").first.click()
        assert whole.is_visible()


def test_legend_hides_a_variant_and_hovering_names_it(page: Path) -> None:
    with open_tab() as tab:
        open_page(tab, page)
        chart = tab.page.locator(".chart").nth(1)
        before = chart.locator(".scatterlayer .trace").count()
        chart.locator(".legendtoggle").first.click()
        tab.page.wait_for_function(
            "n => document.querySelectorAll('.chart')[1]"
            ".querySelectorAll('.scatterlayer .trace').length < n",
            arg=before,
        )
        tab.page.locator(".chart").nth(0).locator(".point").first.hover(force=True)
        hover = tab.page.locator(".hoverlayer .hovertext").first
        assert "D(8)" in (hover.text_content() or "")


def test_report_with_chromium_is_written_as_pdf(page: Path, tmp_path: Path) -> None:
    report.write_pdf(page, tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_report_names_the_reason_of_a_browser_that_fails(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho no display >&2\nexit 21\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StudyError, match=r"did not print .* \(exit code 21\): no display$"):
        report.write_pdf(page, page.with_suffix(".pdf"))


def test_report_without_a_browser_refuses_pdf(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StudyError, match="--pdf needs Chromium"):
        report.write_pdf(page, page.with_suffix(".pdf"))
