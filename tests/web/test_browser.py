"""What a user does with the page, done in a real browser; screenshots go to ``artefacts``."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra web is not installed")

from browser import Watched, served
from playwright.sync_api import Browser, Locator, expect

from pages import needs_browser, violations
from peftscope.study.study import Study
from pretend_study import make_study

pytestmark = [pytest.mark.slow, needs_browser]

SHARES = {
    "base": 0.05, "lora": 0.6, "rslora": 0.64, "dora": 0.6, "oft": 0.56, "miss": 0.55, "lily": 0.57, "ia3": 0.4,
    "ln-tuning": 0.3,
}  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)>"
VIEWS = ("report", "explore", "compare", "choose")
Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tuned study of eight methods, one run of which failed, and one with names to be afraid of."""
    folder = tmp_path_factory.mktemp("results")
    tuned: dict[str, Any] = {"tuning": {"effort": "quick"}, "train": {"max_steps": 120}}
    make_study(folder / "tickets", SHARES, study=tuned, num_outputs=6, broken={"ia3": "oom"})
    methods = [{"name": "lora", "label": HOSTILE, "knobs": {"r": 8}}, {"name": "oft", "label": "=cmd|' /C calc'!A0"}]
    make_study(
        folder / "hostile", {"base": 0.1, HOSTILE: 0.5, "=cmd|' /C calc'!A0": 0.3}, study={"methods": methods},
        num_outputs=3,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def address(results: Path) -> Iterator[str]:
    with served(results) as found:
        yield found


@pytest.fixture
def open_(browser: Browser, address: str) -> Iterator[Open]:
    """Opens a view of the app; at the end nothing may have been said on the console."""
    opened: list[Watched] = []

    def do(view: str, *, size: str = "wide", theme: str = "light", study: str = "tickets", query: str = "") -> Watched:
        watched = Watched(browser, size=size, theme=theme, home=address)
        watched.page.goto(f"{address}#/{view}?study={study}{query}")
        opened.append(watched)
        return watched

    yield do
    for watched in opened:
        watched.close()


@pytest.fixture(scope="module")
def report(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Study.find(results / "tickets").report(tmp_path_factory.mktemp("report")).page


def select(watched: Watched, label: str) -> Locator:
    return watched.page.get_by_label(re.compile(f"^{label}"), exact=False).first


def names_in(table: Locator) -> list[str]:
    return [text[1:] if text[:1] in "●■◆▲▼⬟⬢✚★" else text for text in table.locator("tbody th").all_inner_texts()]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "narrow"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_its_window_and_passes_the_accessibility_check(
    view: str, size: str, theme: str, open_: Open
) -> None:
    watched = open_(view, size=size, theme=theme)
    page = watched.page
    expect(page.locator("h1")).to_be_visible(timeout=20_000)
    expect(page.locator(".scatter svg, .side").first).to_be_visible(timeout=20_000)
    if view == "explore":
        expect(page.locator("text=Judging")).to_have_count(0, timeout=20_000)
    assert watched.fits()
    watched.shot(view, full_page=True)
    if (size, theme) in (("wide", "dark"), ("narrow", "light")):
        return  # each width and each theme are checked once
    found = violations(page)
    assert not [(each["id"], each["nodes"][0]["html"][:200]) for each in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_the_report_is_one_file_that_works_alone(size: str, theme: str, report: Path, browser: Browser) -> None:
    watched = Watched(browser, size=size, theme=theme, home=report.as_uri())
    page = watched.page
    page.goto(report.as_uri())
    expect(page.locator("#front .scatter svg")).to_be_visible()
    assert watched.fits()
    first = page.locator(".loud")
    assert first.bounding_box()["y"] < page.locator("#recommendation").bounding_box()["y"]  # type: ignore[index]
    for name in ("Explore", "Compare", "Choose", "Report"):
        page.get_by_role("navigation", name="Views").get_by_role("link", name=name).click()
        expect(page.locator("main h1")).to_be_visible()
    watched.shot("file", full_page=True)
    watched.close()


def test_forgetting_is_in_sight_at_1280_pixels(open_: Open) -> None:
    watched = open_("report")
    box = watched.page.locator("#quality-table th", has_text="forgetting").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] < 1280


def test_axes_change_and_the_table_with_them(open_: Open) -> None:
    watched = open_("report")
    page = watched.page
    section = page.locator("#front")
    across, up = section.get_by_label("across"), section.get_by_label("up")
    expect(across).to_have_value("peak_train_memory_bytes")
    across.select_option("checkpoint_bytes")
    expect(section.locator("thead").first).to_contain_text("checkpoint")
    assert "x=checkpoint_bytes" in page.url
    up.select_option("checkpoint_bytes")  # against itself: they change places
    expect(across).to_have_value("accuracy")


def test_a_point_tells_what_it_is_to_mouse_and_keys(open_: Open) -> None:
    watched = open_("explore")
    page = watched.page
    plot = page.get_by_role("application")
    expect(page.locator("text=methods, with their intervals")).to_be_attached(timeout=20_000)
    plot.focus()
    said = []
    for _ in SHARES:
        page.keyboard.press("ArrowRight")
        said.append(plot.get_by_role("status").inner_text())
    assert {text.split("\n")[0] for text in said} == set(SHARES)
    member = next(text for text in said if text.startswith("rslora"))
    assert "probability of being on it" in member
    assert "95 % interval" in member
    page.keyboard.press("Escape")
    expect(plot.get_by_role("status")).to_be_hidden()
    name = page.locator(".names text", has_text="rslora").bounding_box()
    assert name is not None
    for dx, dy in ((-9, 14), (10, 14), (-14, 6), (name["width"] / 2, 20), (-9, -4), (name["width"] + 9, 14)):
        page.mouse.move(name["x"] + dx, name["y"] + dy)
        if plot.get_by_role("status").is_visible() and "rslora" in plot.get_by_role("status").inner_text():
            break
    else:
        raise AssertionError("no tooltip beside the name")


def test_a_box_drawn_in_the_plot_filters_the_table_and_a_button_brings_all_back(open_: Open) -> None:
    watched = open_("explore")
    page = watched.page
    table = page.locator("#explore-table")
    expect(table.locator("caption")).to_have_text("Methods", timeout=20_000)
    count = len(SHARES)
    expect(table.locator("tbody tr")).to_have_count(count)
    box = page.locator(".scatter svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    shown = table.locator("tbody tr").count()
    assert 0 < shown < count
    assert "pick=" in page.url
    watched.shot("brushed")
    page.get_by_role("button", name="Show all again").click()
    expect(table.locator("tbody tr")).to_have_count(count)
    select(watched, "method").select_option("lora")
    expect(table.locator("tbody tr")).to_have_count(1)


def test_groups_have_the_mean_and_deviation_that_python_has(open_: Open, results: Path) -> None:
    watched = open_("explore", query="&show=groups&by=method&f.purpose=final&x=train_time_s&y=accuracy")
    page = watched.page
    table = page.locator("#explore-table")
    expect(table.locator("tbody th").first).to_be_visible()
    runs = Study.find(results / "tickets").results().runs
    for method in ("lora", "oft"):
        own = runs[(runs["method"] == method) & (runs["status"] == "ok")]["test_score"].tolist()
        cells = table.locator("tbody tr", has=page.locator(f"th:text-matches('^.?{method}$')")).locator("td")
        assert cells.nth(5).inner_text() == f"{float(f'{100 * statistics.mean(own):.4g}'):g} %"
        assert cells.nth(6).inner_text() == f"{float(f'{100 * statistics.stdev(own):.4g}'):g} %"


def test_a_single_run_is_drawn_without_an_interval_and_opens(open_: Open) -> None:
    watched = open_("explore", query="&show=runs&f.purpose=final&f.method=lora")
    page = watched.page
    expect(page.locator("#explore-table tbody tr")).to_have_count(3)
    expect(page.locator(".scatter [aria-label=link] path")).to_have_count(0)
    page.locator("#explore-table tbody tr").first.get_by_role("link").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=2)).to_contain_text("lora")
    expect(dialog).to_contain_text("peftscope rerun")
    expect(dialog.get_by_role("heading", name="How its learning rate was found")).to_be_visible(timeout=20_000)
    expect(dialog.locator(".panel svg")).to_be_visible()
    expect(dialog).to_contain_text("What is 0 + 0?")
    assert not violations(page)
    watched.shot("run")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page).not_to_have_url(re.compile("run="))


def test_rows_picked_in_the_table_are_marked_in_the_plot_and_compared(open_: Open) -> None:
    watched = open_("explore", query="&show=runs&f.purpose=final&f.method=lora")
    page = watched.page
    rows = page.locator("#explore-table tbody tr")
    expect(rows).to_have_count(3)
    for place in (0, 1):
        rows.nth(place).get_by_role("checkbox").check()
    expect(rows).to_have_count(3)
    expect(page.locator(".scatter svg circle")).to_have_count(2)
    expect(page.locator("text=Judging")).to_have_count(0, timeout=20_000)
    page.get_by_role("link", name="Compare these 2").click()
    expect(page.locator("h1")).to_contain_text("2 runs side by side")
    expect(page.locator("#settings tbody tr")).to_have_count(1)
    expect(page.locator("#settings tbody th")).to_have_text("seed")
    assert page.locator("#values").get_by_text("interval").count() == 0
    watched.shot("runs", full_page=True)


def test_methods_are_compared_side_by_side(open_: Open) -> None:
    watched = open_("compare")
    page = watched.page
    for name in ("lora", "oft"):
        page.get_by_role("checkbox", name=name, exact=False).and_(
            page.locator(f"label:has-text('{name}') input")
        ).first.check()
    for name in ("rslora", "dora"):
        page.locator("label", has_text=re.compile(f"^.?{name}$")).locator("input").uncheck()
    expect(page.locator("#values thead")).to_contain_text("lora")
    expect(page.locator("#values")).to_contain_text("95 % interval")
    expect(page.locator("#differences li")).to_have_count(1)
    expect(page.locator("#differences")).to_contain_text("a new training of it scores higher")
    expect(page.locator("#disagreements")).to_contain_text("first better on")
    expect(page.locator("#code")).to_contain_text("get_peft_config")
    watched.shot("compared", full_page=True)


def test_limits_change_the_answer_to_what_recommend_says(open_: Open, results: Path) -> None:
    watched = open_("choose")
    page = watched.page
    slider = page.get_by_role("slider", name="training memory")
    expect(slider).to_be_visible(timeout=20_000)
    answer = page.locator(".answer h3").first
    before = answer.inner_text()
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    value = float(re.search(r"max\.memory=([^&]+)", page.url)[1])  # type: ignore[index]
    said = Study.find(results / "tickets").recommend(max_memory=value).document()
    expect(answer).to_have_text(said["text"][0]["title"])
    assert answer.inner_text() != before
    expect(page.locator(".answer")).to_contain_text(re.sub(r"\s+", " ", said["text"][0]["lines"][0]))
    expect(page.locator("text=What each limit cost")).to_be_visible()
    expect(page.locator("text=Without “training memory”")).to_contain_text("instead: rslora")
    command = page.locator(".code pre").last.inner_text().split()
    assert command[:3] == ["peftscope", "recommend", str(results / "tickets")]
    amount = command[-1].removeprefix("memory=")
    assert command[3] == "--max"
    assert Study.find(results / "tickets").recommend(max_memory=amount).document()["text"][0] == said["text"][0]
    watched.shot("limited", full_page=True)
    page.get_by_role("button", name="Without limits").click()
    expect(answer).to_have_text(before)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("&max.memory=1", "base"),
        ("&max.memory=1e30", "rslora"),
        ("&max.memory=abc", "The address has no amount for"),
        ("&max.memory=1e999", "The address has no amount for"),
    ],
)
def test_a_limit_in_the_address_is_kept_or_told_to_be_none(query: str, said: str, open_: Open) -> None:
    watched = open_("choose", query=query)
    expect(watched.page.locator(".answer")).to_contain_text(said, timeout=20_000)


@pytest.mark.parametrize(
    ("view", "query", "said"),
    [
        ("report", "&study=nowhere", "There is no study “nowhere” here"),
        ("explore", "&x=foo", "There is no figure “foo” here"),
        ("explore", "&show=runs&f.method=foo", "No run has method “foo”"),
        ("compare", "&m=foo", "Not in this study: foo"),
        ("explore", "&run=foo", "no such run in this study"),
        ("explore", "&run=..%2Fstudy", "peftscope has nothing of that name"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(view: str, query: str, said: str, open_: Open) -> None:
    watched = open_(view, query=query)
    expect(watched.page.get_by_role("alert").or_(watched.page.locator(".note")).filter(has_text=said)).to_be_visible(
        timeout=20_000
    )
    watched.said = [text for text in watched.said if "404" not in text]  # of a run that is none


def test_the_way_back_leads_through_what_was_looked_at(open_: Open) -> None:
    watched = open_("explore")
    page = watched.page
    expect(page.locator("#explore-table caption")).to_have_text("Methods", timeout=20_000)
    page.get_by_label("across").first.select_option("train_time_s")
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Compare").click()
    expect(page.locator("h1")).to_contain_text("side by side")
    page.go_back()
    expect(page.get_by_label("across").first).to_have_value("train_time_s")
    page.go_back()
    expect(page.get_by_label("across").first).to_have_value("peak_train_memory_bytes")


def test_the_file_answers_limits_as_the_server_does(report: Path, results: Path, browser: Browser) -> None:
    said = Study.find(results / "tickets").recommend(max_memory=1.05e9 + 2).document()
    watched = Watched(browser, home=report.as_uri())
    watched.page.goto(f"{report.as_uri()}#/choose?max.memory=1050000002")
    expect(watched.page.locator(".answer h3").first).to_have_text(said["text"][0]["title"])
    watched.close()


def test_a_copied_link_shows_the_same_view(open_: Open) -> None:
    watched = open_("explore", query="&show=runs&f.method=oft&f.purpose=*&x=train_time_s&y=test_score")
    expect(watched.page.locator("#explore-table tbody th").first).to_be_visible()
    expect(watched.page.locator("text=Judging")).to_have_count(0, timeout=20_000)
    other = watched.watch(watched.context.new_page())
    other.goto(watched.page.url)
    expect(other.locator("#explore-table tbody th").first).to_be_visible()
    expect(other.locator("text=Judging")).to_have_count(0, timeout=20_000)
    for page in (watched.page, other):
        expect(page.get_by_label("across")).to_have_value("train_time_s")
    assert watched.page.locator("main").inner_text() == other.locator("main").inner_text()


def test_what_is_saved_is_what_is_shown(open_: Open) -> None:
    watched = open_("explore", study="hostile")
    page = watched.page
    expect(page.locator("#explore-table caption")).to_have_text("Methods", timeout=20_000)
    files = {}
    for name in ("CSV", "PNG", "SVG"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        files[name] = Path(download.value.path()).read_bytes()
    rows = list(csv.reader(io.StringIO(files["CSV"].decode())))
    assert {row[0] for row in rows[1:]} == {"base", HOSTILE, "'=cmd|' /C calc'!A0"}
    assert rows[0][1].endswith("(GB)")
    assert sorted({round(float(row[1]), 6) for row in rows[1:]}) == [0.0, 1.2]
    assert files["PNG"].startswith(b"\x89PNG")
    assert b"<svg" in files["SVG"]
    assert b"var(--" not in files["SVG"]


def test_names_and_outputs_of_others_are_shown_letter_by_letter(open_: Open) -> None:
    for view in VIEWS:
        watched = open_(view, study="hostile")
        expect(watched.page.locator("main")).to_contain_text(HOSTILE, timeout=20_000)
        assert watched.page.locator("img[src=x]").count() == 0
        assert watched.page.locator("pre b").count() == 0


def test_it_prints_whole(report: Path, browser: Browser) -> None:
    watched = Watched(browser, home=report.as_uri())
    page = watched.page
    page.goto(report.as_uri())
    expect(page.locator("#front .scatter svg")).to_be_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator("#tuning .panel svg").last).to_be_attached()
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert len(paper) > 50_000
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation", name="Views")).to_be_hidden()
    watched.close()


def test_every_control_has_a_name_and_is_reached_in_the_order_of_the_page(open_: Open) -> None:
    watched = open_("explore")
    page = watched.page
    expect(page.locator("#explore-table caption")).to_have_text("Methods", timeout=20_000)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("a, button, input, select, summary, [tabindex]")].filter((e) => {
            const name = e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.[0]?.textContent.trim();
            return !name && e.checkVisibility();
        }).map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
    tree = page.locator("body").aria_snapshot()
    for control in (
        'link "Report"',
        'combobox "points are',
        'combobox "across',
        'application "',
        'button "CSV"',
        'button "method"',
    ):
        assert control in tree, control
    places = []
    page.keyboard.press("Tab")
    for _ in range(60):
        place = page.evaluate(
            """(() => {
                const focused = document.activeElement;
                return [focused.tagName, focused.getBoundingClientRect().top + scrollY];
            })()"""
        )
        if place[0] == "BODY":
            break
        places.append(place[1])
        page.keyboard.press("Tab")
    assert len(places) > 12
    assert all(later >= earlier - 60 for earlier, later in pairwise(places[1:]))


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_jumps_once_it_is_on_screen(view: str, open_: Open) -> None:
    watched = open_(view)
    page = watched.page
    expect(page.locator(".scatter svg, .side").first).to_be_visible(timeout=20_000)
    expect(page.locator("text=Judging")).to_have_count(0, timeout=20_000)
    shift = page.evaluate(
        """() => new Promise((done) => {
            let sum = 0;
            const add = (entry) => { if (!entry.hadRecentInput) sum += entry.value; };
            const observer = new PerformanceObserver((list) => list.getEntries().forEach(add));
            observer.observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(sum), 300);
        })"""
    )
    assert shift < 0.1


def test_a_folder_that_changes_offers_to_be_read_again(tmp_path: Path, browser: Browser) -> None:
    make_study(tmp_path / "s", {"base": 0.1, "lora": 0.5})
    with served(tmp_path / "s") as address:
        watched = Watched(browser, home=address)
        page = watched.page
        page.goto(f"{address}#/explore?show=runs")
        expect(page.locator("#explore-table tbody tr").first).to_be_visible()
        before = page.locator("#explore-table tbody tr").count()
        record = json.loads(next((tmp_path / "s/records").iterdir()).read_text())
        record["run_id"] = "abc"
        (tmp_path / "s/records/abc.json").write_text(json.dumps(record))
        page.get_by_role("button", name="Read it again").click(timeout=15_000)
        expect(page.locator("#explore-table tbody tr")).to_have_count(before + 1)
        watched.close()


def test_a_study_without_results_says_so(tmp_path: Path, browser: Browser) -> None:
    make_study(tmp_path / "s", {"lora": 0.4}, study={"seeds": [0], "include_base": False}, broken={"lora": "oom"})
    with served(tmp_path / "s") as address:
        watched = Watched(browser, home=address)
        watched.page.goto(f"{address}#/explore")
        expect(watched.page.locator("main")).to_contain_text("No verdict: ")
        watched.page.goto(f"{address}#/report")
        expect(watched.page.get_by_role("alert")).to_contain_text("has a result")
        watched.said = [text for text in watched.said if "404" not in text]  # the answer itself says that there is none
        watched.close()
