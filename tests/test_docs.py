"""Commands and links in README and docs: each is one that the code takes, or that is there."""

import importlib
import re
import tomllib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.common.errors import StudyError
from tests.support.commands import ROOT
from tests.support.documents import find_broken_links
from tests.support.documents import list_documents
from tests.support.documents import read_blocks
from tests.support.documents import read_commands
from tests.support.documents import read_outline

DOCUMENTS = {str(path.relative_to(ROOT)): path for path in list_documents()}
COMMANDS = {
    (name, " ".join(words)): words
    for name, path in DOCUMENTS.items()
    for words in read_commands(path.read_text())
}
WITHOUT_PARSER = {"pip", "pytest"}  # modules that are not ours


class Parsed(Exception):
    """Raised in place of running a command whose flags are right."""


def list_module_commands() -> list[Any]:
    starts = (["python", "-m"], [".venv/bin/python", "-m"])
    return [
        pytest.param(words[2], words[3:], id=f"{name}: {' '.join(words[2:])}"[:100])
        for (name, _), words in COMMANDS.items()
        if words[:2] in starts and words[2] not in WITHOUT_PARSER
    ]


def check_flags(monkeypatch: pytest.MonkeyPatch, module: str, flags: list[str]) -> None:
    """Let a module parse flags, and stop it before it does anything."""
    parse = ArgumentParser.parse_args

    def parse_and_stop(self: ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(self, *args, **kwargs)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr("sys.argv", [module, *flags])
        found: Any = importlib.import_module(module)
        main = getattr(found, "main", None) or importlib.import_module(f"{module}.__main__").main
        with pytest.raises(Parsed):
            main()


@pytest.mark.parametrize(("module", "flags"), list_module_commands())
def test_command_of_the_docs_has_flags_that_exist(
    monkeypatch: pytest.MonkeyPatch, module: str, flags: list[str]
) -> None:
    check_flags(monkeypatch, module, flags)


def test_flag_that_does_not_exist_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StudyError, match="--rate"):
        check_flags(monkeypatch, "study.train", ["--rate", "1"])


def test_make_targets_of_the_docs_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {words[1] for words in COMMANDS.values() if words[0] == "make" and len(words) > 1}
    assert len(used) >= 3
    assert used <= targets


def test_project_commands_of_the_docs_pass_flags_that_exist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry_points = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    commands = [words for words in COMMANDS.values() if words[:3] == ["mlflow", "run", "."]]
    assert commands
    for words in commands:
        entry = words[words.index("-e") + 1] if "-e" in words else "main"
        module = entry_points[entry]["command"].split()[-1]
        flags = [f"--{words[i + 1]}" for i, word in enumerate(words) if word == "-P"]
        check_flags(monkeypatch, module, flags)


@pytest.mark.parametrize("path", DOCUMENTS.values(), ids=DOCUMENTS)
def test_links_of_a_page_lead_somewhere(path: Path) -> None:
    assert find_broken_links(path) == []


def test_korean_readme_has_the_commands_figures_and_headings_of_the_english() -> None:
    ours = read_outline(ROOT / "README.ko.md")
    theirs = read_outline(ROOT / "README.md")
    for part, expected in theirs.items():
        assert expected, part
        assert ours[part] == expected, part


def test_import_contract_of_the_architecture_page_is_the_one_that_is_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = "\n".join(settings["contracts"][0]["layers"])
    page = DOCUMENTS["docs/architecture.md"].read_text()
    assert layers in [block.strip() for block in read_blocks(page)]
