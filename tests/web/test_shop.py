"""The shop in a real browser: what is searched, compared, copied and taken away; screenshots go to ``artefacts``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("playwright", reason="playwright is not installed")

from browser import Watched
from playwright.sync_api import Browser, Locator, Page, expect

from pages import needs_browser, violations
from peftscope.methods.capabilities import CAPABILITIES, MERGE, finding
from peftscope.methods.catalog import cards
from peftscope.methods.catalog.snippet_parts import MODEL
from peftscope.models.builtin import fetch_builtin
from peftscope.study.planned import plan_models_document, planned_document
from peftscope.study.shop import shop_document
from peftscope.study.study import Study
from peftscope.views.report.page import page as page_of

pytestmark = [pytest.mark.slow, needs_browser]

CARD = "rtx-4090"
Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """What the page is drawn from."""
    index = {"studies": [], "live": False, "shop": True, "version": "1"}
    return {"index": index, "shop": shop_document(), **_plans()}


def _plans() -> dict[str, Any]:
    models = plan_models_document()
    return {"plan/models": models, **{f"plan/{of['key']}": planned_document(of["key"]) for of in models["models"]}}


@pytest.fixture(scope="module")
def address(documents: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("shop") / "index.html"
    place.write_text(page_of("shop", documents), encoding="utf-8")
    return place.as_uri()


@pytest.fixture
def open_(browser: Browser, address: str) -> Iterator[Open]:
    """Opens the shop; at the end nothing may have been said on the console, and nobody asked for anything."""
    opened: list[Watched] = []

    def do(query: str = "", *, size: str = "wide", theme: str = "light") -> Watched:
        watched = Watched(browser, size=size, theme=theme, home=address)
        watched.page.goto(f"{address}#/shop{query and '?' + query}")
        expect(watched.page.locator("h1")).to_contain_text("Shop")
        opened.append(watched)
        return watched

    yield do
    for watched in opened:
        watched.close()


def card_of(page: Page, title: str) -> Locator:
    return page.get_by_role("article", name=title, exact=True)


def titles_in(page: Page) -> list[str]:
    return page.locator(".method h3").all_inner_texts()


def put(page: Page, *titles: str) -> None:
    for title in titles:
        page.get_by_role("button", name=f"Add to cart: {title}", exact=True).click()


def titled(names: list[str]) -> set[str]:
    return {cards()[name].title for name in names}


def test_mergeable_methods_for_quantized_bases_are_those_of_the_table(open_: Open) -> None:
    page = open_().page
    assert len(titles_in(page)) == len(cards())
    filters = page.get_by_role("form", name="Filters")
    for title in ("merge", "bitsandbytes' NF4"):
        filters.get_by_role("checkbox", name=re.compile(f"^{re.escape(title)} \\(")).check()
    able = [name for name in cards() if all(finding(name, of).value == "yes" for of in (MERGE, "nf4"))]
    assert set(titles_in(page)) == titled(able)
    expect(page.get_by_role("status").filter(has_text="of")).to_have_text(f"{len(able)} of {len(cards())} methods")
    page.get_by_role("searchbox", name="search").fill("Orthogonal  ROTAT")
    words = {name: f"{of.name} {of.title} {of.summary} {of.family} {of.paper and of.paper.title}".lower()
             for name, of in cards().items()}  # fmt: skip
    found = [name for name in able if "orthogonal" in words[name] and "rotat" in words[name]]
    assert found
    assert set(titles_in(page)) == titled(found)
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator(".method")).to_have_count(len(cards()))
    expect(page.get_by_role("searchbox", name="search")).to_be_focused()


def test_what_cannot_be_trained_comes_last_with_the_reason_or_not_at_all(open_: Open) -> None:
    page = open_().page
    refused = [of for of in cards().values() if of.refused]
    last = sum(not of.trains for of in cards().values())
    assert {of.title for of in refused} <= set(titles_in(page)[-last:])
    for of in refused:
        expect(card_of(page, of.title)).to_contain_text(of.refused or "")
    page.get_by_label("only what can be trained").check()
    assert set(titles_in(page)) == {of.title for of in cards().values() if of.trains}


def test_a_score_that_is_sorted_by_tells_how_many_were_tried(open_: Open, documents: dict[str, Any]) -> None:
    page = open_().page
    found = {of["title"]: of["measured"]["text"] for of in documents["shop"]["cards"] if "text" in of["measured"]}
    lower = "accuracy, Text: word problems, at least (lower end)"
    page.get_by_label("sorted by").select_option(label=lower)
    order = [title for title in titles_in(page) if title in found and cards_by_title(title).trains]
    assert [found[title]["low"] for title in order] == sorted((found[title]["low"] for title in order), reverse=True)
    assert titles_in(page)[: len(order)] == order
    for title in ("LoRA", "OFT"):
        tries = found[title]["tries"]
        tried = "one configuration tried" if tries == 1 else f"best of {tries} configurations tried"
        expect(card_of(page, title).locator(".by")).to_have_text(f"at least {found[title]['low']:.1f} % · {tried}")
        strip = card_of(page, title).locator(".strip").first
        assert strip.locator("circle").count() == tries == len(found[title]["points"])
        expect(strip.locator("circle.hollow")).to_have_count(sum(of["low"] is None for of in found[title]["points"]))


def cards_by_title(title: str) -> Any:
    return next(of for of in cards().values() if of.title == title)


def test_lora_is_compared_with_oft(open_: Open) -> None:
    watched = open_()
    page = watched.page
    put(page, "LoRA", "OFT")
    page.get_by_role("link", name="Open and compare").click()
    table = page.locator("#features")
    expect(table).to_be_in_viewport()
    assert table.locator("thead th").all_inner_texts() == ["feature", "LoRA", "OFT"]
    values = {of.name: [finding(name, of.name).value for name in ("lora", "oft")] for of in CAPABILITIES}
    told = {"yes": "yes", "no": "no", "unknown": "not known"}
    for of in CAPABILITIES:
        row = table.locator(
            "tr", has=page.locator("th[scope=row]", has_text=re.compile(f"^{re.escape(of.title)}( ≠|$)"))
        )
        for place, value in enumerate(values[of.name]):
            expect(row.locator("td").nth(place)).to_contain_text(told[value])
    page.get_by_label("only differences").check()
    shown = {text.split(" ≠")[0] for text in table.locator("th[scope=row]").all_inner_texts()}
    expect(table.locator("tr:has(td)")).to_have_count(table.locator("tr.differs").count())
    assert {of.title for of in CAPABILITIES if of.group != "costs" and len(set(values[of.name])) > 1} <= shown
    assert not {of.title for of in CAPABILITIES if of.group != "costs" and len(set(values[of.name])) == 1} & shown
    watched.shot("shop-compared", full_page=False)


def test_three_in_the_cart_are_there_after_a_reload(open_: Open) -> None:
    page = open_("find=o&sort=year").page
    put(page, "LoRA", "OFT", "MiSS")
    bar = page.get_by_role("status").filter(has_text="in the cart")
    expect(bar).to_have_text("3 in the cart: LoRA, OFT, MiSS")
    page.get_by_role("form", name="Filters").get_by_label("family").select_option("low-rank")
    page.get_by_role("checkbox", name=re.compile("^vLLM")).check()
    before = (titles_in(page), page.url)
    page.reload()
    expect(bar).to_have_text("3 in the cart: LoRA, OFT, MiSS")
    assert (titles_in(page), page.url) == before
    expect(page.get_by_role("searchbox", name="search")).to_have_value("o")
    expect(page.get_by_label("sorted by")).to_have_value("year")
    expect(page.locator("#features thead th")).to_have_count(4)
    page.get_by_role("button", name="Remove OFT").click()
    expect(bar).to_have_text("2 in the cart: LoRA, MiSS")
    page.get_by_role("form", name="More for the cart").get_by_label("another method").select_option(label="DoRA")
    page.get_by_role("form", name="More for the cart").get_by_role("button", name="Add to cart").click()
    expect(bar).to_have_text("3 in the cart: LoRA, MiSS, DoRA")


def test_code_is_copied_one_by_one_and_all_at_once(open_: Open, documents: dict[str, Any]) -> None:
    page = open_("cart=lora,oft").page
    code = {
        of["name"]: next(each["code"] for each in of["snippets"] if each["key"] == "save")
        for of in documents["shop"]["cards"] if of["name"] in ("lora", "oft")
    }  # fmt: skip
    page.get_by_label("what for").select_option("save")
    cart = page.locator("#cart")
    cart.get_by_role("button", name="Copy: save and load: OFT").click()
    expect(cart.get_by_role("button", name="Copied: save and load: OFT")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == code["oft"]
    cart.get_by_role("button", name=re.compile("^Copy all")).click()
    expect(cart.get_by_role("button", name=re.compile("^Copied: save and load of"))).to_be_visible()
    everything = page.evaluate("navigator.clipboard.readText()")
    assert everything.startswith("# LoRA\n")
    assert all(each.strip() in everything for each in code.values())


@pytest.mark.parametrize("modality", ["text", "images"])
def test_a_study_of_the_cart_is_a_file_that_peftscope_reads(modality: str, open_: Open, tmp_path: Path) -> None:
    page = open_("cart=lora,oft,prompt-tuning,xlora").page
    form = page.get_by_role("form", name="Compare these on my data")
    if modality == "images":
        form.get_by_role("radio", name="images").check()
    name = "mine: {{methods}} \"x\" $& 'y'"
    form.get_by_label("base model").fill(name)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download study.yaml").click()
    assert download.value.suggested_filename == "study.yaml"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    able = [of for of in ("lora", "oft", "prompt-tuning") if modality == "text" or _for_images(of)]
    assert written["methods"] == able
    assert written["model"] == name
    assert "{{" not in text.replace("{{methods}}", "")
    expect(page.locator("#cart")).to_contain_text("Left out, as peftscope does not train them: X-LoRA")
    expect(page.locator("#cart .whole pre")).to_have_text(text)
    expect(page.locator("#cart")).to_contain_text("peftscope compare study.yaml")
    form.get_by_label("base model").fill("builtin:nano-lm" if modality == "text" else "builtin:nano-t2i")
    (tmp_path / "study.yaml").write_text(page.locator("#cart .whole pre").inner_text(), encoding="utf-8")
    assert [method.name for method in Study.load(tmp_path / "study.yaml").spec.methods] == able


def test_code_that_was_copied_and_a_study_that_was_downloaded_run(open_: Open, tmp_path: Path) -> None:
    page = open_().page
    put(page, "LoRA", "OFT", "MiSS")
    page.locator("#cart").get_by_role("button", name="Copy: train: OFT", exact=True).click()
    expect(page.locator("#cart").get_by_role("button", name="Copied: train: OFT", exact=True)).to_be_visible()
    code = page.evaluate("navigator.clipboard.readText()").replace(MODEL, str(fetch_builtin("builtin:nano-lm")))
    (tmp_path / "train.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert re.search(r"trainable params: [1-9].*\nloss \d", done.stdout), done.stderr
    rows = [{"text": f"{i} apples and {i % 3}", "label": ("red", "green")[i % 2]} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    form = page.get_by_role("form", name="Compare these on my data")
    given = {"name": "apples", "base model": "builtin:nano-lm", "training rows": "rows.jsonl", "steps": "4"}
    for field, value in {**given, "prompt": "{text}\nColour:", "answer column": "label"}.items():
        form.get_by_label(field, exact=True).fill(value)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download study.yaml").click()
    study = yaml.safe_load(Path(download.value.path()).read_text(encoding="utf-8"))
    assert study["train"]["max_steps"] == 4
    del study["tuning"]  # as it stands it takes minutes
    short = {"max_new_tokens": 3, "general_tokens": 200}
    study = {**study, "seeds": [0], "task": {**study["task"], **short}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    compare = page.locator("#cart pre").last.inner_text().splitlines()[-1].split()
    done = subprocess.run(
        [sys.executable, "-m", *compare], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    finals = [r for r in Study.find(tmp_path / "results" / "apples").results().records if r.spec.purpose == "final"]
    assert {(r.spec.method.name, r.status) for r in finals} == {(n, "ok") for n in ("base", "lora", "oft", "miss")}


def _for_images(name: str) -> bool:
    return any(finding(name, kind).value == "yes" for kind in ("diffusion-transformer", "unet"))


def test_memory_is_the_plans_and_cards_tell_what_fits(open_: Open, documents: dict[str, Any]) -> None:
    page = open_(f"gpu={CARD}&sort=memory").page
    models = documents["plan/models"]["models"]
    model = models[len(models) // 2]
    page.get_by_label(re.compile("^memory on")).select_option(model["key"])
    rows = {of["method"]: of for of in documents[f"plan/{model['key']}"]["rows"]}
    room = next(of["bytes"] for of in documents["plan/models"]["gpus"] if of["name"] == CARD)
    expect(card_of(page, "LoRA")).to_contain_text(f"on {model['title']}, batch 4 × ")
    order = [cards_by_title(title) for title in titles_in(page)]
    peaks = [rows[of.name]["peak"] for of in order if of.trains and of.name in rows and rows[of.name]["peak"]]
    assert peaks
    assert peaks == sorted(peaks)
    fitting = [of.title for of in order if (peak := rows.get(of.name, {}).get("peak")) is not None and peak <= room]
    assert page.locator(".method", has=page.locator(".fit.fits")).locator("h3").all_inner_texts() == fitting
    eased = page.locator(".method", has=page.locator(".fit.with")).locator("h3").all_inner_texts()
    for title in eased:
        row = rows[cards_by_title(title).name]
        assert row["peak"] > room >= min(row[name] for name in ("checkpointed", "nf4", "both") if row[name] is not None)


def test_reasons_are_in_the_details_for_keys_and_ears(open_: Open) -> None:
    page = open_("find=lily").page
    card = card_of(page, "Lily")
    badge = card.locator(".badges li", has_text="merges")
    reason = finding("lily", MERGE).reason
    expect(badge).to_have_text(re.compile("^no: "))
    assert badge.get_attribute("title") == reason
    card.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(card.locator(".abilities li", has_text=re.compile("^✗ merge: no"))).to_contain_text(reason)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("can=foo", "There is no capability “foo” here"),
        ("family=foo", "There is no family “foo” here"),
        ("cart=lora,foo", "Not among these methods, but in the cart: foo"),
        ("find=nothingofthatname", "No method has all of this"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(query: str, said: str, open_: Open) -> None:
    expect(open_(query).page.locator(".note").filter(has_text=said)).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_the_shop_fits_its_window_and_passes_the_accessibility_check(size: str, theme: str, open_: Open) -> None:
    watched = open_(f"cart=lora,oft,miss&gpu={CARD}&sort=best.text&find=rotat", size=size, theme=theme)
    page = watched.page
    page.locator(".method summary").first.click()
    page.get_by_text("How to read the measured scores").click()
    if size == "narrow":
        page.locator(".filters summary").first.click()
    page.locator("#features summary").first.click()
    assert watched.fits()
    watched.shot("shop", full_page=True)
    found = violations(page)
    assert not [(each["id"], each["nodes"][0]["html"][:200]) for each in found]
    levels = [int(tag[1]) for tag in page.locator("h1, h2, h3, h4, h5").evaluate_all("all => all.map(h => h.tagName)")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
