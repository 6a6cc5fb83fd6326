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
from playwright.sync_api import Browser, Route, expect

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


COVERING = """() => [...document.querySelectorAll(".scatter svg:has(.corner)")].flatMap((svg) => {
    const corner = svg.querySelector(".corner").getBoundingClientRect();
    return [...svg.querySelectorAll(".names text")].filter((name) => {
        const own = name.getBoundingClientRect();
        return own.left < corner.right && corner.left < own.right
            && own.top < corner.bottom - 2 && corner.top + 2 < own.bottom;
    }).map((name) => name.textContent);
})"""


def without_intervals(route: Route) -> None:
    """So that the best point lies in the very corner."""
    found = route.fetch().json()
    for each in found["front"]["points"].values():
        for point in each.values():
            point.update(low=None, high=None)
    route.fulfill(json=found)


def test_names_in_a_plot_leave_the_better_corner_free(tmp_path: Path, browser: Browser) -> None:
    make_study(tmp_path / "s", {"lora": 0.3, "oft": 0.6}, study={"include_base": False})
    with served(tmp_path / "s") as address:
        watched = Watched(browser, home=address, size="narrow")
        watched.page.route("**/study", without_intervals)
        opened(watched, "report")
        expect(watched.page.locator("#front .names text")).to_have_count(2, timeout=20_000)
        assert watched.page.evaluate(COVERING) == []
        watched.page.locator("#front .scatter").scroll_into_view_if_needed()
        watched.shot("corner")
        watched.close()


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


def test_back_leads_past_a_run_that_was_closed(watched: Watched) -> None:
    page = opened(watched, "explore?show=runs&f.purpose=final").page
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Explore").wait_for()
    page.locator("#explore-table tbody tr").first.get_by_role("link").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.go_back()
    page.wait_for_timeout(300)
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "run=" not in page.url


def test_what_is_closed_is_open_on_paper_and_closed_again_after(watched: Watched) -> None:
    page = opened(watched, "report").page
    closed, still = page.locator("main details:not([open])"), page.locator("main details[open]")
    expect(closed.first).to_be_visible(timeout=20_000)
    closed.first.evaluate("each => { each.open = true; }")
    before = closed.count()
    assert before
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert closed.count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert (closed.count(), still.count()) == (before, 1)


def test_a_long_name_in_a_legend_wraps_on_paper(tmp_path: Path, browser: Browser) -> None:
    label = "a label that says at length what was tried in the afternoon, and then all over again for whoever reads it"
    methods = [{"name": "lora", "label": label}]
    tuned: dict[str, Any] = {"methods": methods, "tuning": {"effort": "quick"}, "train": {"max_steps": 120}}
    make_study(tmp_path / "s", {"base": 0.1, label: 0.5}, study=tuned)
    with served(tmp_path / "s") as address:
        watched = opened(Watched(browser, home=address, size="narrow"), "report")
        expect(watched.page.locator(".legend button").first).to_be_attached(timeout=20_000)
        watched.page.emulate_media(media="print")
        button = watched.page.locator(".legend button").first
        assert button.evaluate("each => each.scrollWidth <= each.clientWidth")
        watched.shot("paper", full_page=True)
        watched.close()


def test_the_best_so_far_is_drawn_in_whole_trials_and_percent(watched: Watched) -> None:
    page = opened(watched, "report").page
    figure = page.locator("#tuning > figure")
    figure.scroll_into_view_if_needed(timeout=20_000)
    expect(figure.locator("svg").first).to_be_visible()
    assert "(%)" in figure.locator("[aria-label='y-axis label']").text_content()
    ticks = figure.locator("[aria-label='x-axis tick label'] text").all_text_contents()
    assert ticks
    assert all(tick.isdigit() for tick in ticks), ticks
    watched.shot("best")


def test_two_trials_are_no_course(browser: Browser, tmp_path: Path) -> None:
    tuned: dict[str, Any] = {"tuning": {"effort": "quick"}, "train": {"max_steps": 120}}
    make_study(tmp_path / "s", {"base": 0.1, "lora": 0.5}, study=tuned)
    with served(tmp_path / "s") as address:
        watched = Watched(browser, home=address)

        def cut(route: Route) -> None:
            found = route.fetch().json()
            for each in found["best"]:
                each["values"] = each["values"][:2]
            route.fulfill(json=found)

        watched.page.route("**/study", cut)
        opened(watched, "report")
        expect(watched.page.locator("#tuning .panel").first).to_be_visible(timeout=20_000)
        expect(watched.page.locator("#tuning > figure")).to_have_count(0)
        watched.close()


def test_an_unfinished_study_has_no_empty_choices_and_no_share_below_zero(tmp_path: Path, browser: Browser) -> None:
    study = {"seeds": [0], "include_base": False}
    make_study(tmp_path / "none", {"lora": 0.4}, study=study, broken={"lora": "oom"})
    make_study(tmp_path / "one", {"lora": 0.0}, study=study)
    axes = "x=peak_train_memory_bytes&y=test_score"
    with served(tmp_path / "none", tmp_path / "one") as address:
        watched = opened(Watched(browser, home=address), f"explore?study=one&show=runs&{axes}")
        expect(watched.page.locator(".scatter svg")).to_be_visible()
        ticks = watched.page.locator("[aria-label='y-axis tick label'] text").all_text_contents()
        assert ticks
        assert not [tick for tick in ticks if tick.startswith(("-", "−"))]
        watched.page.goto(f"{address}#/explore?study=none")
        expect(watched.page.locator("main")).to_contain_text("No verdict: ", timeout=20_000)
        watched.shot("unfinished", full_page=True)
        expect(watched.page.locator(".note", has_text="No run has a figure yet.")).to_be_visible()
        expect(watched.page.get_by_label("across")).to_have_count(0)
        watched.said = [text for text in watched.said if "404" not in text]
        watched.close()


def test_the_file_that_was_chosen_is_not_denied(watched: Watched, tmp_path: Path) -> None:
    page = opened(watched, "plan?from=file").page
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    button = page.get_by_text("Choose a config.json", exact=True)
    with page.expect_file_chooser() as chooser:
        button.click(timeout=20_000)
    chooser.value.set_files(tmp_path / "config.json")
    expect(page.locator(".drop")).to_contain_text("now: config.json")
    box = page.locator("input[type=file]").bounding_box()
    assert box is not None
    assert box["width"] <= 1
    watched.shot("upload")
    watched.said = [text for text in watched.said if "422" not in text and "400" not in text]
