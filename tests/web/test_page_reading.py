"""What a reader of the page is told of folders that go, points beyond an edge and files that are there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra web is not installed")

from browser import Watched, served
from playwright.sync_api import Browser, expect

from pages import needs_browser
from peftscope.study.study import Study
from pretend_study import make_study

pytestmark = [pytest.mark.slow, needs_browser]

SHARES = {"base": 0.05, "lora": 0.6, "rslora": 0.64, "oft": 0.56}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned study."""
    folder = tmp_path_factory.mktemp("results") / "tickets"
    tuned: dict[str, Any] = {"tuning": {"effort": "quick"}, "train": {"max_steps": 120}}
    make_study(folder, SHARES, study=tuned, num_outputs=2)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder, published=True) as found:
        yield found


@pytest.fixture
def watched(browser: Browser, address: str) -> Iterator[Watched]:
    found = Watched(browser, home=address)
    yield found
    found.close()


def opened(watched: Watched, view: str) -> Watched:
    watched.page.goto(f"{watched.home}#/{view}")
    expect(watched.page.locator("main h1")).to_be_visible(timeout=20_000)
    return watched


PUBLISHED = "study=published-text-2026-08-21"


def test_a_folder_that_is_removed_is_told_to_be_gone(tmp_path: Path, browser: Browser) -> None:
    make_study(tmp_path / "s", {"base": 0.1, "lora": 0.5})
    with served(tmp_path / "s") as address:
        watched = opened(Watched(browser, home=address), "explore?show=runs")
        expect(watched.page.locator("#explore-table tbody tr").first).to_be_visible()
        shutil.move(tmp_path / "s", tmp_path / "away")
        expect(watched.page.get_by_role("alert")).to_contain_text("The folder is gone", timeout=15_000)
        shutil.move(tmp_path / "away", tmp_path / "s")
        expect(watched.page.get_by_role("alert")).to_have_count(0, timeout=15_000)
        watched.said = [text for text in watched.said if "404" not in text]
        watched.close()


def test_a_server_that_ended_is_told_not_to_answer(browser: Browser, watched: Watched) -> None:
    page = opened(watched, "explore?show=runs").page
    expect(page.locator("#explore-table tbody tr").first).to_be_visible()
    page.route("**/state", lambda route: route.abort())
    expect(page.get_by_role("alert")).to_contain_text("peftscope does not answer", timeout=15_000)
    watched.said = [text for text in watched.said if "ERR_FAILED" not in text]


def test_points_beyond_the_edge_have_an_arrow_and_are_counted(watched: Watched) -> None:
    page = opened(watched, "releases").page
    figure = page.locator("#fronts figure")
    arrows = figure.locator("g.beyond text")
    expect(arrows.first).to_be_attached(timeout=20_000)
    assert f"{arrows.count()} points lie beyond the edge" in figure.locator("figcaption").inner_text()
    watched.shot("beyond", full_page=True)


def test_names_in_a_plot_leave_the_better_corner_free(watched: Watched) -> None:
    for query in ("releases", "releases?task=images", "explore"):
        page = opened(watched, query).page
        corner = page.locator(".corner").first
        expect(corner).to_be_visible(timeout=20_000)
        box = corner.bounding_box()
        assert box is not None
        for name in page.locator(".scatter").first.locator(".names text").all():
            own = name.bounding_box()
            assert own is not None
            apart = (
                own["x"] >= box["x"] + box["width"] or box["x"] >= own["x"] + own["width"]
                or own["y"] >= box["y"] + box["height"] - 2 or box["y"] >= own["y"] + own["height"] - 2
            )  # fmt: skip
            assert apart, name.inner_text()


def test_the_base_is_named_in_the_tiers_only_where_it_was_measured(watched: Watched) -> None:
    page = opened(watched, "report").page
    expect(page.locator("#tiers figcaption")).to_contain_text("the untouched base", timeout=20_000)
    opened(watched, f"report?{PUBLISHED}")
    expect(page.locator("h1")).to_contain_text("2026-08-21", timeout=20_000)
    expect(page.locator("#tiers figcaption")).to_have_text("Hollow: trained once.", timeout=20_000)


def test_files_beside_the_report_are_named_in_the_report_alone(
    watched: Watched, folder: Path, browser: Browser, tmp_path: Path
) -> None:
    repeat = opened(watched, "report").page.locator("#repeat")
    expect(repeat).to_contain_text("single runs", timeout=20_000)
    assert "runs.csv" not in repeat.inner_text()
    home = Study.find(folder).report(tmp_path).page.as_uri()
    alone = Watched(browser, home=home)
    alone.page.goto(home)
    expect(alone.page.locator("#repeat")).to_contain_text("runs.csv")
    alone.close()


def test_long_names_leave_the_figures_in_sight_at_1280_pixels(tmp_path: Path, browser: Browser) -> None:
    words = [f"a label that says at length what was tried in the run number {n} of the afternoon" for n in (1, 2)]
    long = [words[0] + ", and then says it all over again for whoever reads it", words[1].replace(" ", "_") * 2]
    methods = [{"name": "lora", "label": long[0]}, {"name": "oft", "label": long[1]}]
    make_study(tmp_path / "s", {"base": 0.1, long[0]: 0.5, long[1]: 0.3}, study={"methods": methods})
    with served(tmp_path / "s") as address:
        watched = opened(Watched(browser, home=address), "report")
        expect(watched.page.locator("#score-table tbody tr")).to_have_count(3, timeout=20_000)
        watched.shot("long-names", full_page=True)
        for table, columns in (("#score-table", 5), ("#cost-table", 4)):
            for heading in watched.page.locator(f"{table} thead th").all()[:columns]:
                box = heading.bounding_box()
                assert box is not None
                assert box["x"] + box["width"] < 1280, heading.inner_text()
        watched.close()


def test_no_heading_of_code_stands_above_nothing(watched: Watched) -> None:
    page = opened(watched, f"compare?{PUBLISHED}").page
    expect(page.locator("#values")).to_be_visible(timeout=20_000)
    expect(page.locator("#code")).to_have_count(0)
    opened(watched, "compare?study=tickets")
    expect(page.locator("#code h3").first).to_be_visible(timeout=20_000)
