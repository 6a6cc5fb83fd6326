"""What the tests of the page share: where there is a browser, and what its accessibility check says."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import CHROMIUM
from playwright.sync_api import Page

__all__ = ["needs_browser", "violations"]

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: 'apt-get install chromium' brings one")
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}


def violations(page: Page) -> list[dict[str, Any]]:
    """Rules that a page breaks, with the elements that do."""
    found: list[dict[str, Any]] = Axe().run(page, options=WCAG).response["violations"]
    return found
