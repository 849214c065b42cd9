"""Debian's Chromium, driven headless, with an eye on everything it asks for and complains about."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from stage import playwright

from commandline import WAIT_SECONDS, Offcam
from waiting import HANG_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

DESKTOP = {"width": 1360, "height": 900}
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def _chromium() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing = "there is no Chromium here: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(scope="module")
def browser(session_root: Path) -> Iterator[Browser]:
    """One browser for a module's tests. Not for the session: as long as it runs, so does an event loop here."""
    api = playwright()
    executable = _chromium()
    # a name that is not this machine's own leads nowhere, so nothing can leave it unseen
    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-dev-shm-usage"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to be root's with it
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()
    gc.collect()  # Playwright's event loop is over, but its threads end only once nothing refers to it any more
    for thread in threading.enumerate():
        if thread.name.startswith("asyncio_"):
            thread.join(HANG_SECONDS)


@pytest.fixture(scope="module", autouse=True)
def _patience() -> None:
    """What is to be seen is waited for, however long that takes on a busy machine."""
    playwright().expect.set_options(timeout=WAIT_SECONDS * 1000)


@dataclass
class Visit:
    """A page, what it asked for, and what went wrong on it.

    Attributes:
        page: the browser's.
        shots: where screenshots go.
        asked: the URLs of all requests.
        problems: errors and warnings of the console, exceptions, answers that were errors.
    """

    page: Page
    shots: Path
    asked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note what happens from now on."""
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        self.page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        self.asked.append(request.url)

    def shot(self, name: str) -> None:
        """Take a picture for people to look at."""
        self.page.screenshot(path=self.shots / f"{name}.png")

    def forgive(self, text: str) -> None:
        """These problems were to be expected, and have to be there."""
        self.page.evaluate("() => new Promise(requestAnimationFrame)")  # the console's messages come before the answer
        assert [problem for problem in self.problems if text in problem], (text, self.problems)
        self.problems = [problem for problem in self.problems if text not in problem]

    def check(self) -> None:
        """Require that all was well, and that nothing was asked of another host."""
        strangers = [
            url
            for url in self.asked
            if urlsplit(url).scheme not in ("blob", "data", "file") and urlsplit(url).hostname != "127.0.0.1"
        ]
        assert not strangers
        assert not self.problems


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Visit]]:
    """Open a URL in a window of its own; what goes wrong in it fails the test."""
    folder = tmp_path / "screenshots"
    visits = []
    with ExitStack() as stack:

        def open_page(url: str, **options: object) -> Visit:
            context = stack.enter_context(
                browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
            )
            visit = Visit(context.new_page(), folder)
            visit.page.set_default_timeout(WAIT_SECONDS * 1000)
            visit.watch()
            visits.append(visit)
            visit.page.goto(url)
            return visit

        yield open_page
    for visit in visits:
        visit.check()


@pytest.fixture
def view(session_root: Path) -> Iterator[Callable[..., str]]:
    """Serve folders with `offcam view`; returns the URL. Ended after the test."""
    with ExitStack() as stack:

        def run(*folders: Path) -> str:
            process = stack.enter_context(Offcam("view", "--json", *folders, stdout=subprocess.PIPE, text=True))
            stack.callback(process.terminate)
            assert process.stdout is not None
            return str(json.loads(process.stdout.readline())["url"])

        yield run
