"""The devserver's page in a real browser, as a person meets it after `make demo SERVE=1`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from support.devserver import DevServer

from demo.world import PROJECT, write_world

CLIPS = Path(__file__).parent.parent / "data" / "speech"
pytestmark = pytest.mark.browser

QUIET = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The demo's project in headless Chromium; a machine without the browser fails loudly."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program is not None, "these tests need a browser: apt-get install chromium"
    home = tmp_path_factory.mktemp("demo")
    with (
        DevServer(home / "gitlab", write_world(home, CLIPS, epochs=1)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=[*QUIET])
        tab = browser.new_page(base_url=server.url)
        yield tab
        browser.close()


def test_a_person_finds_jobs_and_notebooks_on_the_project_page(page: Page) -> None:
    """What is waiting, and how far each notebook is."""
    page.goto(f"/{PROJECT}")
    text = page.inner_text("body")
    assert "Train our own recogniser" in text
    assert text.count("pending") == 5
    assert "Of printing, read again" in text


def test_a_verse_can_be_listened_to(page: Page) -> None:
    """The player gets the recording behind the LFS pointer, and can tell how long it is."""
    page.goto(f"/{PROJECT}")
    page.click("text=Of printing >> nth=0")
    assert "in being comparatively modern" in page.inner_text("body")
    duration = page.evaluate(
        """async () => {
            const player = document.querySelectorAll("audio")[1];
            player.preload = "auto";
            player.load();
            await new Promise((done, failed) => {
                player.oncanplaythrough = done;
                player.onerror = () => failed(new Error("the recording does not play"));
            });
            return player.duration;
        }"""
    )
    assert 1.5 < duration < 2.5


def test_the_page_asks_nobody_else_for_anything(page: Page) -> None:
    """No third-party assets, no errors on the console."""
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"/{PROJECT}")
    assert asked
    assert all("//127.0.0.1:" in url for url in asked)
    assert complaints == []
