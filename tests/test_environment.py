"""What other work leaves in a user's environment does no harm when a library is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT


def run_python(code: str, cwd: Path, **settings: str) -> str:
    """Run code in a new process without HOME and return what it prints."""
    environment = {name: text for name, text in os.environ.items() if name != "HOME"}
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment | {"PYTHONPATH": str(ROOT)} | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout.strip()


@pytest.mark.parametrize("package", ["study", "pipelines"])
def test_notebooks_backend_of_matplotlib_is_not_used(tmp_path: Path, package: str) -> None:
    code = f"import {package}, matplotlib; print(matplotlib.get_backend())"
    notebook = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "HOME": str(tmp_path)}
    assert run_python(code, tmp_path, **notebook).lower() == "agg"


@pytest.mark.parametrize("package", ["study", "pipelines"])
def test_without_a_home_folder_the_libraries_start(tmp_path: Path, package: str) -> None:
    # What a user without an entry finds, for tests need not run as root: nobody has a home.
    nobody = "import pwd\ndef missing(uid): raise KeyError(uid)\npwd.getpwuid = missing\n"
    code = (
        f"{nobody}import {package}, mlflow.environment_variables, matplotlib.font_manager, "
        "kagglehub, os; print(os.environ['HOME'])"
    )
    assert run_python(code, tmp_path) == "/"
