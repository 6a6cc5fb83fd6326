"""The plan view in a real browser: what each method takes on a model, and whether it fits the card."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("starlette", reason="the extra web is not installed")

from browser import Watched, served
from playwright.sync_api import Browser, Locator, Page, expect

from pages import needs_browser, violations
from peftscope.views.report.page import page as page_of
from peftscope.views.units import bytes_text
from pretend_study import make_study

pytestmark = [pytest.mark.slow, needs_browser]

CONFIG = Path(__file__).parents[1] / "configs" / "llama-3.2-3b.json"
COUNTED_MS = 60_000
Open = Callable[..., Watched]
Document = dict[str, Any]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("results")
    make_study(folder / "tickets", {"base": 0.1, "lora": 0.5})
    with served(folder) as found:
        yield found


@pytest.fixture
def open_(browser: Browser, address: str) -> Iterator[Open]:
    """Opens the view; at the end nothing may have been said on the console."""
    opened: list[Watched] = []

    def do(query: str = "", *, size: str = "wide", theme: str = "light", home: str = address) -> Watched:
        watched = Watched(browser, size=size, theme=theme, home=home)
        watched.page.goto(f"{home}#/plan?{query}")
        opened.append(watched)
        return watched

    yield do
    for watched in opened:
        watched.close()


@pytest.fixture(scope="module")
def documents(browser: Browser, address: str) -> dict[str, Document]:
    """What the server has of the plan, by name."""
    asked = browser.new_context().request
    models = asked.get(f"{address}api/plan/models").json()
    names = [f"plan/{model['key']}" for model in models["models"]]
    return {"plan/models": models, **{name: asked.get(f"{address}api/{name}").json() for name in names}}


def one_of(documents: dict[str, Document]) -> tuple[Document, str, float]:
    """A table and a card that some of its methods fit and some do not, with the card's bytes."""
    models = documents["plan/models"]
    return next(
        (table, card["name"], card["bytes"])
        for table in (documents[f"plan/{model['key']}"] for model in models["models"])
        for card in models["gpus"]
        if {row["peak"] <= card["bytes"] for row in with_peaks(table)} == {True, False}
    )


def with_peaks(table: Document) -> list[Document]:
    return sorted(
        (row for row in table["rows"] if row["peak"] is not None), key=lambda row: (row["peak"], row["method"])
    )


def choice(page: Page, label: str) -> Locator:
    return page.get_by_role("combobox", name=re.compile(f"^{label}"))


def said(page: Page) -> str:
    return page.locator("main [role=status] .summary").inner_text()


def test_a_known_model_is_held_against_the_chosen_card(open_: Open, documents: dict[str, Document]) -> None:
    table, card, size = one_of(documents)
    rows = with_peaks(table)
    page = open_().page
    choice(page, "model").select_option(table["key"])
    choice(page, "card").select_option(card)
    expect(page.get_by_role("heading", level=2, name=table["title"], exact=True)).to_be_visible()
    expect(page.locator(".bars .bar")).to_have_count(len(rows))
    expect(page.locator(".bars .card")).to_contain_text(bytes_text(size))
    fitting = [row for row in rows if row["peak"] <= size]
    assert page.locator(".bars .over").count() == len(rows) - len(fitting)
    assert re.findall(r"\d+|None|All", said(page))[0] in {str(len(fitting)), "None", "All"}
    cells = page.locator("#plan-table tbody tr").all()
    told = [(cell.locator("th").inner_text(), cell.locator("td").first.inner_text()) for cell in cells]
    assert told == [(row["method"], bytes_text(row["peak"])) for row in rows]
    assert f"on={table['key']}" in page.url
    assert f"gpu={card}" in page.url
    expect(page.locator("#plan-command pre")).to_contain_text(f"--max-memory {card}")


def test_parts_of_a_bar_are_told_to_mouse_and_keys(open_: Open, documents: dict[str, Document]) -> None:
    table, _, _ = one_of(documents)
    first, second = with_peaks(table)[:2]
    page = open_(f"on={table['key']}").page
    chart = page.get_by_role("application")
    chart.focus()
    for row in (first, second):
        page.keyboard.press("ArrowDown")
        tip = chart.get_by_role("status").inner_text()
        assert tip.startswith(f"{row['method']}: {bytes_text(row['peak'])}")
        for part, size in zip(table["parts"], row["parts"], strict=True):
            assert not size or part["label"] in tip
    page.keyboard.press("Escape")
    expect(chart.get_by_role("status")).to_be_hidden()
    page.locator(".bars .bar").nth(1).hover()
    expect(chart.get_by_role("status")).to_contain_text(second["method"])


def test_filters_leave_what_is_looked_for(open_: Open, documents: dict[str, Document]) -> None:
    table, card, size = one_of(documents)
    page = open_(f"on={table['key']}&gpu={card}").page
    page.get_by_label("find").fill("lora")
    named = [row for row in with_peaks(table) if "lora" in row["method"]]
    expect(page.locator("#plan-table tbody th", has_text="lora")).to_have_count(len(named))
    page.get_by_label("only what fits").check()
    fitting = [row["method"] for row in named if row["peak"] <= size]
    expect(page.locator("#plan-table tbody th", has_text="lora")).to_have_count(len(fitting))
    assert "find=lora" in page.url


def test_the_file_has_what_the_table_has(open_: Open, documents: dict[str, Document]) -> None:
    table, card, size = one_of(documents)
    page = open_(f"on={table['key']}&gpu={card}").page
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    assert {row["method"] for row in rows} == {row["method"] for row in table["rows"]}
    shown = {line.locator("th").inner_text(): line.inner_text() for line in page.locator("#plan-table tbody tr").all()}
    for row, known in zip(rows, with_peaks(table), strict=False):
        assert row["method"] == known["method"]
        assert int(row["peak (bytes)"]) == known["peak"]
        assert [int(row[f"{part['label']} (bytes)"]) for part in table["parts"]] == known["parts"]
        assert row["what would make it fit"] in shown[row["method"]]
        assert (known["peak"] <= size) == (row["what would make it fit"] == "")


@pytest.mark.parametrize(
    ("size", "theme"), [("wide", "light"), ("wide", "dark"), ("narrow", "light"), ("narrow", "dark")]
)
def test_the_view_fits_its_window_and_passes_the_accessibility_check(
    size: str, theme: str, open_: Open, documents: dict[str, Document]
) -> None:
    table, card, _ = one_of(documents)
    watched = open_(f"on={table['key']}&gpu={card}", size=size, theme=theme)
    page = watched.page
    expect(page.locator(".bars svg")).to_be_visible()
    assert watched.fits()
    watched.shot("plan", full_page=True)
    if (size, theme) in (("wide", "dark"), ("narrow", "light")):
        return  # each width and each theme are checked once
    choice(page, "model").select_option("*file")
    expect(page.locator("input[type=file]")).to_be_visible()
    assert watched.fits()
    page.go_back()
    expect(page.locator(".bars svg")).to_be_visible()
    found = violations(page)
    assert not [(each["id"], each["nodes"][0]["html"][:200]) for each in found]


def test_a_config_of_ones_own_is_counted_and_drawn_as_rows_come(open_: Open) -> None:
    watched = open_("from=file&batch=1&length=64")
    page = watched.page
    expect(page.get_by_text("is in no address")).to_be_visible()
    page.locator("input[type=file]").set_input_files(CONFIG)
    expect(page.locator(".bars .bar").nth(1)).to_be_visible(timeout=COUNTED_MS)
    expect(page.get_by_text("methods counted")).to_be_visible()
    watched.shot("plan-counting")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("main [role=status]").first).to_contain_text("Stopped after")
    drawn = page.locator(".bars .bar").count()
    assert drawn >= 2
    assert page.locator("#plan-table tbody tr").count() == drawn
    expect(page.locator("#plan-command pre")).to_contain_text("--model llama-3.2-3b.json --batch-size 1 --seq-len 64")
    assert "llama" not in page.url
    choice(page, "card").select_option("")
    page.get_by_label("memory in GB").fill("1")
    page.get_by_label("memory in GB").press("Enter")
    expect(page.locator(".bars .over")).to_have_count(drawn)  # another card is not counted for anew


def test_counting_goes_on_while_other_views_are_open(open_: Open) -> None:
    watched = open_("from=file&batch=1&length=64")
    page = watched.page
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.locator("input[type=file]").set_input_files(CONFIG)
    expect(page.locator(".bars .bar").first).to_be_visible(timeout=COUNTED_MS)
    views = page.get_by_role("navigation", name="Views")
    views.get_by_role("link", name="Shop").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Shop")
    views.get_by_role("link", name="Plan").click()
    assert "from=file&batch=1&length=64" in page.url
    expect(page.locator(".bars .bar").first).to_be_visible(timeout=2_000)
    expect(page.locator(".bars .bar").nth(1)).to_be_visible(timeout=COUNTED_MS)
    assert len(sent) == 1
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Count again")).to_be_visible()


def test_only_the_plan_has_a_process_started_ahead(browser: Browser, address: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(address)))
    page.goto(f"{address}#/shop")
    expect(page.get_by_label("memory on")).to_be_visible()
    assert "api/plan/models" in asked
    assert "api/plan/ahead" not in asked
    with page.expect_request("**/api/plan/ahead"):
        page.get_by_role("navigation", name="Views").get_by_role("link", name="Plan").click()
    page.close()


def refused_in_the_page(folder: Path) -> dict[Path, str]:
    large = folder / "large.json"
    with large.open("wb") as file:
        file.truncate(200 * 10**6)
    files = {large: "more than 1 MB is not read"}
    for name, text, words in (
        ("broken.json", '{"hidden_size": ', "is not JSON"),
        ("list.json", "[1, 2]", "holds a list"),
        ("number.json", "3", "holds a number"),
    ):
        (folder / name).write_text(text, "utf-8")
        files[folder / name] = words
    return files


def refused_by_the_server(folder: Path) -> dict[Path, str]:
    config = json.loads(CONFIG.read_text("utf-8"))
    files = {}
    for name, changed, words in (
        ("code.json", {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "own.Model"}}, "is not run"),
        ("huge.json", {"hidden_size": 10**9}, "'huge.json': hidden_size"),
    ):
        (folder / name).write_text(json.dumps({**config, **changed}), "utf-8")
        files[folder / name] = words
    return files


def test_a_file_that_cannot_be_counted_is_refused_with_a_sentence(open_: Open, tmp_path: Path) -> None:
    watched = open_("from=file&batch=1&length=64")
    page = watched.page
    field = page.locator("input[type=file]")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    for file, words in refused_in_the_page(tmp_path).items():
        began = time.monotonic()
        field.set_input_files(file)
        expect(page.get_by_role("alert")).to_contain_text(words)
        assert time.monotonic() - began < 5
    assert not sent
    for file, words in refused_by_the_server(tmp_path).items():
        field.set_input_files(file)
        expect(page.get_by_role("alert")).to_contain_text(words, timeout=30_000)
        expect(page.get_by_role("alert")).not_to_contain_text("'config.json'")
        expect(page.locator(".bars .bar")).to_have_count(0)
    field.set_input_files(CONFIG)
    expect(page.locator("progress[max]")).to_be_visible(timeout=COUNTED_MS)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    watched.said = [text for text in watched.said if "400" not in text]  # of what the server refused


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("on=nowhere", "The address has “nowhere” as a model"),
        ("gpu=toaster", "The address has “toaster” as a card"),
        ("batch=-1", "The address has “-1” as a batch size"),
        ("dtype=int3", "The address has “int3” as a dtype"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(query: str, words: str, open_: Open) -> None:
    page = open_(query).page
    expect(page.locator(".note", has_text=words)).to_be_visible()
    expect(page.locator(".bars .bar").first).to_be_visible()


def test_a_page_without_a_server_shows_known_models_alone(
    open_: Open, documents: dict[str, Document], tmp_path: Path
) -> None:
    index = {"studies": [], "live": False, "shop": True, "version": "0"}
    (tmp_path / "page.html").write_text(page_of("peftscope", {"index": index, **documents}), "utf-8")
    table, _, _ = one_of(documents)
    page = open_(f"on={table['key']}&batch=64", home=(tmp_path / "page.html").as_uri()).page
    expect(page.locator(".bars .bar")).to_have_count(len(with_peaks(table)))
    expect(page.locator(".note", has_text=documents["plan/models"]["live_only"])).to_be_visible()
    expect(page.get_by_label("batch size")).to_have_count(0)
    assert choice(page, "model").locator("option").count() == len(documents["plan/models"]["models"])
