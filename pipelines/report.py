"""Write the report of a data set's study as one self-contained HTML page.

    python -m pipelines.report --dataset chest
    python -m pipelines.report --dataset chest --pdf --open

It reads finished runs from MLflow alone. The report is about the table in which most rows are
compared with the baseline. The tables of the other protocols follow. The page is also uploaded to
the study's run in MLflow, unless --no-upload is given.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from study.common.command import run_command
from study.common.errors import StudyError
from study.common.parser import Parser
from study.common.paths import check_outside
from study.common.paths import parse_path
from study.config.dataset_names import resolve_dataset
from study.config.trial_config import recipe

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
PDF_SECONDS = 120  # the longest that printing may take


def main() -> None:
    """Parse the flags, build the report, write it and upload it."""
    parser = Parser(__doc__ or "", "pipelines.report")
    add = parser.add_argument
    add(
        "--dataset",
        required=True,
        metavar="X",
        type=resolve_dataset,
        help="chest, blood, demo, or the path of a folder",
    )
    add(
        "--out",
        metavar="DIR",
        type=parse_path,
        help="folder to write to [default: exports/DATASET]",
    )
    add("--experiment", metavar="NAME", help="read only this MLflow experiment [default: all]")
    add("--pdf", action="store_true", help="also write report.pdf; needs Chromium or Chrome")
    add("--no-upload", action="store_true", help="leave MLflow as it is")
    add("--open", action="store_true", help="open it in the browser")
    args = parser.parse_args()
    recipe(args.dataset)  # refuses an unknown name
    check_outside(args.out, args.dataset)
    # Late, because MLflow takes seconds to load: --help and bad flags do not need it
    from pipelines.page.export_report import export_report

    page = export_report(args.dataset, args.experiment, args.out, upload=not args.no_upload)
    if args.pdf:
        write_pdf(page, page.with_name("report.pdf"))
        print(f"report.pdf is in {page.parent}")
    if args.open:
        webbrowser.open(page.resolve().as_uri())


def write_pdf(page: Path, file: Path) -> None:
    """Print a page as PDF with the first of `BROWSERS` that is on the PATH.

    Raises:
        StudyError: there is no such browser, or it fails.
    """
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise StudyError("--pdf needs Chromium or Chrome: install one, or print the page by hand")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = _build_print_command(browser, profile, page, file)
        try:
            done = subprocess.run(command, capture_output=True, timeout=PDF_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StudyError(f"{browser} did not print {page} in {PDF_SECONDS} s") from error
        except OSError as error:
            raise StudyError(f"{browser} cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").split("\n")
        reason = next((line for line in reversed(lines) if line.strip()), "")
        raise StudyError(
            f"{browser} did not print {page} (exit code {done.returncode}): {reason[:200]}"
        )


def _build_print_command(browser: str, profile: str, page: Path, file: Path) -> Sequence[str]:
    # Chromium refuses to run as root with its sandbox; Windows has no geteuid
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    sandbox = ["--no-sandbox"] if is_root else []
    return [
        *(browser, "--headless", "--disable-gpu", f"--user-data-dir={profile}", *sandbox),
        *("--disable-background-networking", "--no-first-run", "--virtual-time-budget=10000"),
        *("--no-pdf-header-footer", f"--print-to-pdf={file}", page.resolve().as_uri()),
    ]


if __name__ == "__main__":
    sys.exit(run_command(main))
