"""Make the table of a data set's finished runs from MLflow."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.compare.block_builder import build_blocks
from pipelines.compare.blocks import find_baseline
from pipelines.compare.cautions import list_cautions
from pipelines.compare.statement import describe_runs
from pipelines.compare.statement import format_title
from pipelines.compare.statement import list_report_notes
from pipelines.page.files import write_files
from pipelines.page.render import Page
from pipelines.page.render import print_page
from pipelines.runs.finished_run import FinishedRun
from pipelines.runs.predictions import Predictions
from pipelines.runs.predictions import read_predictions
from pipelines.runs.read_runs import read_runs
from pipelines.runs.sweeps import LoggedSweep
from pipelines.runs.sweeps import read_sweeps
from pipelines.runs.table_runs import select_table_runs
from pipelines.runs.upload import upload_files
from study.config.dataset_names import data_name
from study.tracking.connection import connect


def export_table(dataset: str, experiment: str | None, out: Path | None, *, upload: bool) -> None:
    """Read the finished runs of a data set, and write, upload and print their table.

    Args:
        dataset: `chest`, `blood`, `demo`, or `folder:PATH`.
        experiment: the only one to read, or None for all.
        out: the folder to write to, or None for that of the data set.
        upload: whether to add the files to the studies of the runs in MLflow.

    Raises:
        StudyError: MLflow cannot be read, has no run for the table, or the folder cannot be
            written.
    """
    runs = read_runs(dataset, experiment)
    sweeps = read_sweeps(runs, experiment)
    runs = select_table_runs(runs, sweeps)
    page = build_page(runs, read_predictions(runs), sweeps)
    folder = out or default_folder(page)
    files = write_files(page, folder)
    if upload:
        upload_files(connect(), runs, files)
    print_page(page)
    print(f"\ncomparison.csv, .md, .html and .tex are in {folder}")


def build_page(
    runs: Sequence[FinishedRun], predictions: Predictions, sweeps: Sequence[LoggedSweep] = ()
) -> Page:
    """Build the table of a data set's finished runs, and the words around it."""
    newest_run = runs[-1]
    blocks = build_blocks(runs, predictions.counts, sweeps)
    return Page(
        title=format_title(newest_run),
        statement=describe_runs(
            runs,
            sum(len(block.rows) for block in blocks),
            has_variants=any(block.sweep is None and find_baseline(block.rows) for block in blocks),
            has_sweeps=any(block.sweep for block in blocks),
        ),
        cautions=list_cautions(blocks, predictions),
        blocks=blocks,
        notes=list_report_notes(newest_run.config.dataset),
        data_name=data_name(newest_run.config.dataset, newest_run.name_digest),
    )


def default_folder(page: Page) -> Path:
    """Return the folder to write to if the user names none, as `exports/chest`."""
    return Path("exports", page.data_name)
