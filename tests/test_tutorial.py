"""The notebook docs/tutorial.ipynb: its outputs are kept, and it runs from end to end."""

import shutil
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from tests.support.commands import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
RUN = ("MLproject", "study", "pipelines")  # what the notebook needs of the repository


def read_text(cell: Any) -> str:
    """What a cell has printed and shown as text."""
    parts = [output.get("text") or output.get("data", {}) for output in cell.outputs]
    return "\n".join(str(part) for part in parts)


def list_code_cells(path: Path) -> list[Any]:
    cells = nbformat.read(path, 4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def test_tutorial_keeps_the_output_of_every_cell_and_no_path_of_a_machine() -> None:
    cells = list_code_cells(NOTEBOOK)
    assert len(cells) == 11
    for cell in cells:
        assert cell.outputs, cell.source
        assert all(output.output_type != "error" for output in cell.outputs)
        for text in ("/root/", "/tmp/", "error:"):
            assert text not in read_text(cell)


@pytest.mark.slow
def test_tutorial_runs_from_the_first_cell_to_the_last(tmp_path: Path) -> None:
    for name in RUN:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").mkdir()
    path = tmp_path / "docs" / NOTEBOOK.name
    shutil.copy(NOTEBOOK, path)
    notebook = nbformat.read(path, 4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    nbformat.write(notebook, path)
    texts = [read_text(cell) for cell in list_code_cells(path)]
    assert "8 of 8 finished; best on validation: " in texts[3]
    assert "Points from baseline" in texts[4]
    assert "model demo, version 1" in texts[7]
    assert not any("error:" in text for text in texts)
