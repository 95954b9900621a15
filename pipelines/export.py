"""Write the comparison table of finished runs as CSV, Markdown, HTML and LaTeX.

    python -m pipelines.export --dataset chest

The table is about the finished runs of one data set. They are read from MLflow only
(MLFLOW_TRACKING_URI, or mlflow.db of the working directory): no image, no weights and no TensorFlow
are needed. The same runs give the same bytes. The files are also uploaded to the parent runs of the
studies that trained these runs (artifacts, `report/`), unless --no-upload is given.
"""

import sys
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

from pipelines.compare.block_builder import build_blocks
from pipelines.compare.blocks import find_baseline
from pipelines.compare.cautions import list_cautions
from pipelines.compare.statement import describe_runs
from pipelines.compare.statement import format_title
from pipelines.compare.statement import list_report_notes
from pipelines.page.latex import render_latex
from pipelines.page.render import Page
from pipelines.page.render import print_page
from pipelines.page.render import render_csv
from pipelines.page.render import render_html
from pipelines.page.render import render_markdown
from pipelines.runs.finished import FinishedRun
from pipelines.runs.finished import NoRunsError
from pipelines.runs.finished import read_runs
from pipelines.runs.predictions import Predictions
from pipelines.runs.predictions import read_predictions
from pipelines.runs.sweeps import LoggedSweep
from pipelines.runs.sweeps import read_sweeps
from pipelines.runs.upload import upload_files
from study.common.command import Parser
from study.common.command import run_command
from study.common.errors import StudyError
from study.common.paths import check_outside
from study.common.paths import parse_path
from study.config.names import data_name
from study.config.trial_config import recipe
from study.flags import resolve_dataset
from study.tracking.connection import connect
from study.variants import find_variant


class ExportError(StudyError):
    """Error for files that cannot be written."""


def main() -> None:
    """Parse the flags, read the runs, and write, upload and print the table."""
    parser = Parser(__doc__ or "", "pipelines.export")
    parser.add_argument(
        "--dataset",
        required=True,
        metavar="X",
        type=resolve_dataset,
        help="chest, blood, demo, or the path of a folder",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=parse_path,
        help="folder to write to [default: exports/DATASET]",
    )
    parser.add_argument(
        "--experiment", metavar="NAME", help="read only this MLflow experiment [default: all]"
    )
    parser.add_argument("--no-upload", action="store_true", help="leave MLflow as it is")
    args = parser.parse_args()
    # This raises an error for an unknown name.
    recipe(args.dataset)
    check_outside(args.out, args.dataset)
    runs = read_runs(args.dataset, args.experiment)
    sweeps = read_sweeps(runs)
    runs = select_table_runs(runs, sweeps)
    page = build_page(runs, read_predictions(runs), sweeps)
    out = args.out or default_folder(page)
    files = write_files(page, out)
    if not args.no_upload:
        upload_files(connect(), runs, files)
    print_page(page)
    print(f"\ncomparison.csv, .md, .html and .tex are in {out}")


def select_table_runs(
    runs: Iterable[FinishedRun], sweeps: Sequence[LoggedSweep] = ()
) -> list[FinishedRun]:
    """Select the runs that belong in a table.

    The runs of a search belong only if they are of one of the seven variants or of a sweep.

    Raises:
        NoRunsError: there are none.
    """
    table_runs = [
        run
        for run in runs
        if run.role != "search"
        or find_variant(run.config)
        or any(sweep.find_cell(run) for sweep in sweeps)
    ]
    if not table_runs:
        raise NoRunsError(
            "MLflow has only runs of searches: train the variants with python -m study.grid"
        )
    return table_runs


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


def write_files(page: Page, out: Path) -> list[Path]:
    """Write `comparison.csv`, `.md`, `.html` and `.tex` into `out`.

    Returns:
        The paths of the files, in this order.

    Raises:
        ExportError: the folder cannot be made or written to.
    """
    texts = {"csv": render_csv(page), "md": render_markdown(page), "html": render_html(page)}
    texts["tex"] = render_latex(page)
    return [write_text(out, f"comparison.{suffix}", text) for suffix, text in texts.items()]


def write_text(out: Path, name: str, text: str) -> Path:
    """Write a file into a folder, and make the folder if need be.

    The file is UTF-8 with LF line ends.

    Returns:
        The path of the file.

    Raises:
        ExportError: the folder cannot be made or written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(text.encode())
    except OSError as error:
        reason = error.strerror or error
        raise ExportError(
            f"cannot write to {out}: {reason}; name another folder with --out"
        ) from error
    return out / name


if __name__ == "__main__":
    sys.exit(run_command(main))
