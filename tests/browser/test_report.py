"""A job's report in a real browser: it is heard, it asks nobody for anything, and it fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from pipelines.report.audio import Samples
from pipelines.report.curve import Curve, Series
from pipelines.report.page import Report, write_report
from pipelines.report.parts import Facts, Notes, Table

CLIP = Path(__file__).parent.parent / "data" / "speech" / "LJ001-0002.flac"
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; a machine without it fails loudly."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program is not None, "these tests need a browser: apt-get install chromium"
    options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A report with one of everything."""
    long = "a very long text of a verse, " * 6
    parts = (
        Facts("Facts", [("a fact", long)]),
        Notes("Please note", [long]),
        Curve("Curve", [Series("training", ((1, 900.0), (2, 3.0))), Series("other", ((1, 4.0), (2, 5.0)))]),
        Table("Verses", ("verse", "sample", "text"), [("MAT 1:1", Samples().take(CLIP, "MAT 1:1"), long)]),
    )  # fmt: skip
    return write_report(tmp_path / "report.html", Report("A job", "Well done.", parts)).as_uri()


def test_samples_can_be_heard_without_a_request(browser: Browser, address: str) -> None:
    """The sound is in the page, the page's own policy lets it play, and nothing is complained about."""
    page = browser.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url[:5]))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(address)
    duration = page.evaluate(
        """async () => {
            const player = document.querySelector("audio");
            player.preload = "auto";
            player.load();
            await new Promise((done, failed) => {
                player.oncanplaythrough = done;
                player.onerror = () => failed(new Error("the sample does not play"));
            });
            return player.duration;
        }"""
    )
    assert 1.5 < duration < 2.5
    assert set(asked) <= {"file:", "data:"}
    assert complaints == []
    page.close()


def test_a_report_fits_a_phone(browser: Browser, address: str) -> None:
    """Only the table scrolls, in its own frame; the drawing shrinks."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(address)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    assert page.locator("figure > svg").bounding_box()["width"] <= 390
    page.close()
