"""A real Chromium without a window, and what is wrong with a page in it."""

import os
import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_REPORTS: Final = """
    window.reports = [];
    addEventListener("securitypolicyviolation", (event) => reports.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


def program() -> str | None:
    """Where Chromium is, if it is."""
    return os.environ.get("TOOLCACHE_TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """The browser; without one, the test is passed over, but not in the gate, which installs it."""
    path = program()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium: .ci/run installs Debian's")
        pytest.skip("there is no Chromium: apt-get install chromium, or TOOLCACHE_TEST_BROWSER=/path/to/one")
    with sync_playwright() as playwright:
        expect.set_options(timeout=15_000)  # what comes sooner is not waited for
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield made
        finally:
            made.close()


class Window:
    """A page in a profile of its own.

    Attributes:
        page: as Playwright drives it.
        complaints: what its console said that is no information, and errors that nobody caught.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self._context = context
        self.page: Page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.page.add_init_script(_REPORTS)
        self.page.on("console", lambda said: self._complain(said.type, said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url, wait_until="load")

    def _complain(self, kind: str, text: str) -> None:
        if kind in {"error", "warning", "assert"}:
            self.complaints.append(text)

    def complain(self) -> list[str]:
        """All that is wrong so far, what the policy of the page has forbidden included."""
        return [*self.complaints, *self.page.evaluate("window.reports")]

    def nodes(self) -> list[dict[str, Any]]:
        """What the page is for those who do not see it: role, name and state of each thing."""
        session = self._context.new_cdp_session(self.page)
        tree = session.send("Accessibility.getFullAXTree")["nodes"]
        return [node for node in tree if not node.get("ignored")]


@contextmanager
def window(made: Browser, url: str, **options: Any) -> Iterator[Window]:
    """A page of an address; options are those of a profile, such as ``viewport`` and ``color_scheme``."""
    options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", "locale": "en-GB"} | options
    context = made.new_context(**options)
    try:
        yield Window(context, url)
    finally:
        context.close()


def save(page: Page, path: Path, of: str = "") -> None:
    """A picture of what is seen, or of one thing in it, as WebP: text stays sharp in a third of the bytes of a PNG."""
    options: dict[str, Any] = {"format": "webp", "quality": 82}
    if of:
        page.locator(of).scroll_into_view_if_needed()
        box = page.locator(of).bounding_box()
        assert box is not None
        top = page.evaluate("scrollY")
        clip = {
            "x": box["x"] - 20,
            "y": box["y"] + top,
            "width": box["width"] + 40,
            "height": box["height"],
            "scale": 1,
        }
        options |= {"clip": clip, "captureBeyondViewport": True}
    session = page.context.new_cdp_session(page)
    path.write_bytes(b64decode(session.send("Page.captureScreenshot", options)["data"]))


# -- what the page shows -------------------------------------------------------------------------------------------


def figure(page: Page, name: str) -> str:
    """The number beneath a name."""
    return page.locator(".figure", has_text=name).locator("strong").inner_text()


def settled(page: Page, hits: int) -> None:
    """Wait until the page tells of so many hits."""
    expect(page.locator(".figure").first.locator("small")).to_contain_text(f"{hits:,} of ")


def cells(page: Page, section: str, row: str) -> list[str]:
    """A row of a table."""
    return page.locator(f"#{section} tr", has_text=row).first.locator("th, td").all_inner_texts()
