"""Make the report of a data set's study from MLflow."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.compare.blocks import find_main_block
from pipelines.compare.cautions import list_cautions
from pipelines.compare.evidence import read_details
from pipelines.page.charts import draw_accuracy_charts
from pipelines.page.diagnostics import draw_diagnostics
from pipelines.page.export_table import build_page
from pipelines.page.export_table import default_folder
from pipelines.page.figure import Chart
from pipelines.page.files import write_text
from pipelines.page.gain_charts import draw_effects
from pipelines.page.report_page import render_report
from pipelines.page.report_page import Report
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.predictions import read_predictions
from pipelines.runs.read_runs import read_runs
from pipelines.runs.searches import read_objectives
from pipelines.runs.sweeps import read_sweeps
from pipelines.runs.table_runs import select_table_runs
from pipelines.runs.upload import upload_files
from study.tracking.connection import connect


def export_report(dataset: str, experiment: str | None, out: Path | None, *, upload: bool) -> Path:
    """Build the report of a data set, write it and upload it.

    Args:
        dataset: `chest`, `blood`, `demo`, or `folder:PATH`.
        experiment: the only one to read, or None for all.
        out: the folder to write to, or None for that of the data set.
        upload: whether to add the page to the studies of its runs in MLflow.

    Returns:
        The path of the page.

    Raises:
        StudyError: MLflow cannot be read, has no run for the report, or the folder cannot be
            written.
    """
    report = build_report(dataset, experiment)
    folder = out or default_folder(report.page)
    page = write_text(folder, "report.html", render_report(report))
    print(f"report.html is in {folder} ({page.stat().st_size / 1e6:.1f} MB)")
    if upload:
        upload_files(connect(), [run for row in report.rows for run in row.runs], [page])
    return page


def build_report(dataset: str, experiment: str | None = None) -> Report:
    """Collect all that the page of a data set shows.

    Raises:
        StudyError: MLflow cannot be read, or has no finished run of the data set.
    """
    runs = read_runs(dataset, experiment)
    sweeps = read_sweeps(runs, experiment)
    table_runs = select_table_runs(runs, sweeps)
    predictions = read_predictions(table_runs, with_answers=True)
    page = build_page(table_runs, predictions, sweeps)
    main_block = find_main_block(page.blocks)
    rows = read_details(main_block, predictions.answers)
    effects_chart = draw_effects(main_block.effects)
    return Report(
        page=page,
        main_block=main_block,
        rows=rows,
        charts=[
            *draw_accuracy_charts(rows),
            *filter(None, [effects_chart]),
            *draw_diagnostics(rows),
            *_draw_search(runs),
        ],
        cautions=list_cautions([main_block], predictions),
        other_cautions=list_cautions(
            [block for block in page.blocks if block is not main_block], predictions
        ),
    )


def _draw_search(runs: Sequence[FinishedRun]) -> list[Chart]:
    """Draw the charts of a search, if there are runs of one."""
    search_runs = [run for run in runs if run.role == "search"]
    if not search_runs:
        return []
    # Late, because Optuna's charts load matplotlib, and a report of a grid alone has none of them
    from pipelines.page.search_charts import draw_search_charts

    return draw_search_charts(search_runs, read_objectives(run.parent for run in search_runs))
