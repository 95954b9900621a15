"""A headless Chromium: what a page asks for, what it complains of, and how accessible it is.

with open_tab() as tab:
    tab.page.goto(path.as_uri())
    assert tab.left == tab.errors == find_accessibility_violations(tab.page) == []
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage
from playwright.sync_api import Page
from playwright.sync_api import Route
from playwright.sync_api import sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_CHROMIUM = "no Chromium: install it (Debian, Ubuntu: apt-get install chromium)"
HERE = ("127.0.0.1", "localhost", "")  # hosts of this machine; a file and a `data:` have none


@dataclass
class Tab:
    """A page. Of it and those it opens: addresses asked for, those elsewhere, and complaints.

    What would leave the machine is blocked.
    """

    page: Page
    asked: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Take note of everything from now on."""
        self.page.context.route("**/*", self._asks)
        self.page.context.on("console", self._says)
        self.page.context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _asks(self, route: Route) -> None:
        url = route.request.url
        self.asked.append(url)
        if (urlsplit(url).hostname or "") in HERE:
            route.continue_()
        else:
            self.left.append(url)
            route.abort()

    def _says(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")


def locate_chromium() -> str | None:
    """The path of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def find_chromium() -> str:
    """The path of a Chromium; without one the test is skipped, in CI it fails."""
    found = locate_chromium()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(NO_CHROMIUM)
        pytest.skip(NO_CHROMIUM)
    return found


@contextlib.contextmanager
def open_tab(width: int = 1280, height: int = 800, *, dark: bool = False) -> Iterator[Tab]:
    """An empty page of a fresh Chromium."""
    path = find_chromium()
    with sync_playwright() as player, player.chromium.launch(executable_path=path) as chromium:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            locale="en-US",
            reduced_motion="reduce",
            service_workers="block",  # whose requests would not be seen
        )
        tab = Tab(context.new_page())
        tab.listen()
        yield tab


def find_accessibility_violations(page: Page) -> list[str]:
    """What is hard to use for some: a line for each rule broken, with the first element."""
    violations = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['help']}, as in {v['nodes'][0]['html'][:200]}" for v in violations]
