"""Which commit a run's figures are said to come from."""

import shutil
import subprocess
from pathlib import Path

import pytest

from study.common import version
from study.common.version import code_version

AUTHOR = ("-c", "user.name=x", "-c", "user.email=x@y")


def git(folder: Path, *args: str) -> str:
    """Run git in a folder and return what it prints."""
    command = ("git", "-C", str(folder), *AUTHOR, *args)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_repository(folder: Path) -> str:
    """Make a repository with all that the folder holds, and return its commit."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "first")
    return git(folder, "rev-parse", "--short=12", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the code of a small project, without a repository."""
    folder = tmp_path / "theirs" / "a:b #project"
    (folder / "study").mkdir(parents=True)
    (folder / "study" / "config.py").write_text("EPOCHS = 1\n")
    monkeypatch.setattr(version, "ROOT", folder)
    return folder


def test_code_version_of_a_checkout_is_its_commit(checkout: Path) -> None:
    commit = make_repository(checkout)
    assert code_version() == commit
    (checkout / "study" / "config.py").write_text("EPOCHS = 2\n")
    assert code_version() == f"{commit}-dirty"


def test_code_version_inside_another_repository_is_a_digest_of_the_source(checkout: Path) -> None:
    make_repository(checkout.parent)
    before = code_version()
    assert before.startswith("source-")
    assert len(before) == len("source-") + 12
    assert code_version() == before
    (checkout / "study" / "config.py").write_text("EPOCHS = 2\n")
    assert code_version() != before


def test_code_version_with_an_empty_git_folder_is_a_digest_of_the_source(checkout: Path) -> None:
    make_repository(checkout.parent)
    (checkout / ".git").mkdir()
    assert code_version().startswith("source-")


def test_code_version_of_a_linked_worktree_is_its_commit(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = make_repository(checkout)
    git(checkout, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    monkeypatch.setattr(version, "ROOT", tmp_path / "linked")
    assert code_version() == commit


@pytest.mark.parametrize("has_repository", [True, False])
def test_code_version_with_the_variables_of_a_hook_is_unchanged(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_repository: bool
) -> None:
    theirs = tmp_path / "product"
    make_repository(theirs)
    if has_repository:
        make_repository(checkout)
    before = code_version()
    monkeypatch.setenv("GIT_DIR", str(theirs / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(theirs))
    monkeypatch.setenv("GIT_INDEX_FILE", str(theirs / ".git" / "index"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))
    assert code_version() == before


def test_code_version_without_git_is_a_digest_of_the_source(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(checkout)
    monkeypatch.setenv("PATH", "/nowhere")
    assert code_version().startswith("source-")


def test_code_version_of_another_owner_is_the_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = make_repository(checkout)
    # Git's own switch for its tests: every folder counts as somebody else's. It is no variable
    # that code_version may drop, so git is wrapped here.
    wrapper = checkout.parent / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {shutil.which("git")} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=":")
    assert code_version() == commit


def test_code_version_as_set_wins(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(checkout)
    monkeypatch.setenv("STUDY_CODE_VERSION", " v2-gpu \n")
    assert code_version() == "v2-gpu"
