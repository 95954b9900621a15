"""The version of the code that a run's figures come from."""

import subprocess
from pathlib import Path


def code_version() -> str:
    """Return `git describe` of the checkout, or `unknown` outside git.

    It ends in `-dirty` if files are changed.
    """
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        root = Path(__file__).parent
        return subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
