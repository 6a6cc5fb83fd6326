"""Published results in a real browser, served and as a folder of files; screenshots go to ``artefacts``."""

from __future__ import annotations

import contextlib
import functools
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra web is not installed")

from browser import Watched, served
from playwright.sync_api import Browser, expect

from pages import needs_browser, violations
from peftscope.study.releases import releases_document
from pretend_study import make_study

pytestmark = [pytest.mark.slow, needs_browser]

FRONT = {
    "text": {"TinyLoRA", "BEFT", "LoRA-FA", "MiSS", "SHiRA", "rsLoRA", "Lily"},
    "images": {"(IA)³", "OFT", "PEANuT"},
}
MOST_BYTES = 10_000_000
Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def live() -> Iterator[str]:
    with served(published=True) as found:
        yield found


def exported(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "peftscope", "explore", "--published", "--export-space", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "peft-methods"
    done = exported(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def static(space: Path) -> Iterator[str]:
    """The folder, given by a web server that knows nothing but files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(space))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def opened(browser: Browser, address: str, view: str, **how: str) -> Iterator[Watched]:
    watched = Watched(browser, home=address, **how)
    watched.page.goto(f"{address}#/{view}")
    expect(watched.page.locator("main h1")).to_be_visible(timeout=20_000)
    yield watched
    watched.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_the_releases_fit_every_window_and_pass_the_accessibility_check(
    size: str, theme: str, browser: Browser, live: str
) -> None:
    with opened(browser, live, "releases", size=size, theme=theme) as watched:
        expect(watched.page.locator("#fronts svg").first).to_be_visible(timeout=20_000)
        watched.page.locator("#repeated").scroll_into_view_if_needed()
        expect(watched.page.locator("#repeated svg").first).to_be_visible()
        assert watched.fits()
        watched.shot("releases", full_page=True)
        found = violations(watched.page)
        assert not [(each["id"], each["nodes"][0]["html"][:200]) for each in found]


@pytest.mark.parametrize("where", ["live", "static"])
def test_task_and_release_are_switched_and_what_repetition_is_worth_is_read(
    where: str, browser: Browser, request: pytest.FixtureRequest
) -> None:
    address = request.getfixturevalue(where)
    with opened(browser, address, "explore") as watched:
        page = watched.page
        page.goto(address)
        assert page.get_by_label("release").input_value() == "2026-08-21"
        expect(page.locator(".scatter svg")).to_be_visible(timeout=20_000)
        page.get_by_label("task").select_option("images")
        expect(page.locator("h1")).to_contain_text("image", timeout=20_000)
        page.get_by_label("release").select_option("2026-06-18")
        expect(page.locator("h1")).to_contain_text("2026-06-18", timeout=20_000)
        page.get_by_role("link", name="Report").click()
        expect(page.locator(".loud")).to_contain_text("Each method was trained once", timeout=20_000)
        page.get_by_role("link", name="Releases").click()
        said = next(task for task in releases_document()["tasks"] if task["key"] == "text")
        accuracy = said["repeated"]["metrics"][0]
        expect(page.locator("#repeated")).to_contain_text(accuracy["gap"], timeout=20_000)
        expect(page.locator("#repeated-table tbody tr")).to_have_count(51)
        page.get_by_label("figure").select_option(said["repeated"]["metrics"][1]["name"])
        expect(page.locator("#repeated")).to_contain_text(said["repeated"]["metrics"][1]["lines"][0])
        page.get_by_label("task").select_option("images")
        expect(page.locator("#repeated")).to_contain_text("is not known")
        assert "task=images" in page.url


@pytest.mark.parametrize("task", FRONT)
def test_the_articles_fronts_are_on_the_page(task: str, browser: Browser, live: str) -> None:
    said = next(each for each in releases_document()["tasks"] if each["key"] == task)
    first = said["releases"][0]["key"]
    assert {row["method"] for row in said["fronts"]["rows"] if row["in"][first]} == FRONT[task]
    with opened(browser, live, f"releases?task={task}") as watched:
        rows = watched.page.locator("#fronts tbody tr")
        expect(rows).to_have_count(len(said["fronts"]["rows"]))
        members = rows.filter(has=watched.page.locator("td:nth-child(2)", has_text=re.compile("^yes$")))
        expect(members).to_have_count(len(FRONT[task]))


def test_a_users_own_study_stands_beside_them_and_is_judged_alone(browser: Browser, tmp_path: Path) -> None:
    make_study(tmp_path / "tickets", {"base": 0.1, "lora": 0.6, "oft": 0.5})
    with served(tmp_path / "tickets", published=True) as address, opened(browser, address, "report") as watched:
        page = watched.page
        expect(page.locator("h1")).to_contain_text("tickets", timeout=20_000)
        expect(page.locator("main")).not_to_contain_text("llama-3.2-3B")
        page.get_by_label("study").select_option("published results")
        expect(page.locator("h1")).to_contain_text("2026-08-21", timeout=20_000)
        expect(page.locator("main")).not_to_contain_text("tickets")


def test_the_space_is_small_and_holds_no_path_of_this_machine(space: Path) -> None:
    files = [path for path in space.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    assert (space / "README.md").read_text(encoding="utf-8").startswith("---\ntitle:")
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert str(space.parent) not in text
        assert "/.cache/" not in text
        assert f"{Path.home()}/" not in text


def test_an_export_goes_over_an_earlier_one_and_over_nothing_else(space: Path, tmp_path: Path) -> None:
    stale = space / "documents" / "stale.json"
    stale.write_text("{}")
    assert exported(space).returncode == 0
    assert not stale.exists()
    (tmp_path / "thesis.md").write_text("mine")
    done = exported(tmp_path)
    assert done.returncode == 2
    assert "holds something else" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.md"]


@pytest.mark.parametrize("view", ["report", "explore", "compare", "choose", "releases", "shop", "plan"])
def test_every_view_of_the_space_is_drawn(view: str, browser: Browser, static: str) -> None:
    with opened(browser, static, view) as watched:
        expect(watched.page.get_by_role("alert")).to_have_count(0)
        expect(watched.page.get_by_text("Loading…")).to_have_count(0)
        watched.page.wait_for_load_state("networkidle")
        expect(watched.page.locator("main")).not_to_contain_text("cannot be drawn")
        watched.shot(f"space-{view}")
