"""Write the files of a table or a report into a folder."""

from pathlib import Path

from pipelines.page.latex import render_latex
from pipelines.page.render import Page
from pipelines.page.render import render_csv
from pipelines.page.render import render_html
from pipelines.page.render import render_markdown
from study.common.errors import StudyError


class ExportError(StudyError):
    """Error for files that cannot be written."""


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
