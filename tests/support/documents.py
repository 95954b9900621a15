"""The commands, links and headings of the project's Markdown files."""

import re
import shlex
from pathlib import Path

from tests.support.commands import ROOT

# A fenced block, or lines indented by four spaces after an empty line
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)((?: {4}[^\n]*\n)+)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SETTING = re.compile(r"[A-Z_]+=\S*")  # before a command
PERCENT = re.compile(r"\d+\.\d %")


def list_documents() -> list[Path]:
    """README and all other pages, but for licenses and tables that a command wrote."""
    folders = ("docs", "results", "benchmarks", "experiments")
    pages = [path for folder in folders for path in (ROOT / folder).rglob("*.md")]
    return [*ROOT.glob("*.md"), *(path for path in pages if path.name != "comparison.md")]


def read_blocks(text: str) -> list[str]:
    """The code blocks of a page, in order of their form."""
    return [*FENCE.findall(text), *INDENTED.findall(FENCE.sub("", text))]


def read_commands(text: str) -> list[list[str]]:
    """The words of each command in the code blocks, without settings, prompts and comments."""
    commands = []
    for block in read_blocks(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            try:
                words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            except ValueError:  # output with an apostrophe
                continue
            while words and SETTING.fullmatch(words[0]):
                words.pop(0)
            if words:
                commands.append(words)
    return commands


def list_anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", path.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(text)
    }


def find_broken_links(path: Path) -> list[str]:
    """The links of a page to files or headings that are not there."""
    broken = []
    for link in LINK.findall(FENCE.sub("", path.read_text())):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        if anchor and file.is_dir():
            file = file / "README.md"  # which GitHub shows below the folder
        if not file.exists() or (anchor and anchor not in list_anchors(file)):
            broken.append(link)
    return broken


def read_outline(path: Path) -> dict[str, list[str]]:
    """What a page and its translation must have in common, in the order of the page."""
    text = path.read_text()
    prose = FENCE.sub("", text)
    rows = [line for line in prose.splitlines() if line.startswith("|")]
    return {
        "code": FENCE.findall(text),
        "heading levels": [line.split()[0] for line in prose.splitlines() if line.startswith("#")],
        "links": [link for link in LINK.findall(prose) if not link.startswith("README")],
        "figures of tables": [
            figure for row in rows for figure in re.findall(r"\d+(?:\.\d+)?", row)
        ],
        "percentages": sorted(PERCENT.findall(prose)),
        "bullets": [line[0] for line in prose.splitlines() if line.startswith("- ")],
    }
