"""A real browser, and a study served to it: for the tests of the page, its pictures and its speed."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from peftscope.web.server import app_of
from peftscope.web.studies import studies_in

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
ARTEFACTS = Path(__file__).parents[1] / "artefacts"
"""Where screenshots go, to be looked at."""
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def served(*places: Path, published: bool = False) -> Iterator[str]:
    """Studies at an address, and the public benchmark's results."""
    listening = socket.create_server(("127.0.0.1", 0))  # bound here, so that no other test takes its port
    port = listening.getsockname()[1]
    app = app_of(studies_in(places, published=published), published=published)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()


class Watched:
    """A page whose every word on the console and every request is noted."""

    def __init__(self, browser: Browser, *, size: str = "wide", theme: str = "light", home: str = "") -> None:
        width, height = SIZES[size]
        self.name = f"{size}-{theme}"
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            permissions=["clipboard-read", "clipboard-write"],
            reduced_motion="reduce",
        )
        self.home = home
        self.said: list[str] = []
        self.foreign: list[str] = []
        self.page = self.watch(self.context.new_page())

    def watch(self, page: Page) -> Page:
        """Note what a page says and asks for."""
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        return page

    def _asked(self, address: str) -> None:
        if not address.startswith((self.home, "data:", "blob:")):
            self.foreign.append(address)

    def shot(self, name: str, **options: Any) -> None:
        """A screenshot, to be looked at."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}-{self.name}.png", **options)

    def fits(self) -> bool:
        """Whether nothing makes the whole page scroll sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    def close(self) -> None:
        """End, and see that nothing was said and nobody else asked."""
        self.context.close()
        assert not self.said
        assert not self.foreign
