"""The version of the code that a run's figures come from."""

import hashlib
import os
import subprocess
from pathlib import Path

from study.common.settings import read_setting

ROOT = Path(__file__).resolve().parents[2]  # of the checkout
PACKAGE = "study"  # the folder of the code that decides a run's figures


def code_version() -> str:
    """Return what identifies this code.

    It is `STUDY_CODE_VERSION` if that is set, else `git describe` of the checkout, which ends in
    `-dirty` if files are changed. Outside Git it is `source-` and a digest of the package's Python
    files.
    """
    setting = read_setting("STUDY_CODE_VERSION")
    return setting or _describe_commit() or f"source-{_digest_source()}"


def _describe_commit() -> str:
    """Return `git describe` of the checkout, or "" if there is no Git history here.

    The repository is named, because Git would otherwise look for one in the folders above, or
    follow the variables that a hook sets. Git does not refuse a named one for its owner either.
    That is safe here: code of the same folder is running anyway.
    """
    if not (ROOT / ".git").exists():
        return ""
    repository = (f"--git-dir={ROOT / '.git'}", f"--work-tree={ROOT}", "--no-optional-locks")
    command = ("git", *repository, "describe", "--always", "--dirty", "--abbrev=12")
    environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    try:
        process = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return process.stdout.strip()


def _digest_source() -> str:
    """Return 12 hex digits of SHA-256 over the package's Python files, by path."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]
