"""The page is one file, whole, and what users wrote cannot break out of it."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from peftscope.errors import StoreError
from peftscope.schema.record import Artefact, RunRecord
from peftscope.tasks.images.grids import GridRow, grid_png
from peftscope.views.report.content import ReportContent, Topic
from peftscope.views.report.data import report_data
from peftscope.views.report.files import report_page, summary_text, verdicts_csv, write_report
from peftscope.views.report.samples import picture_tables
from views.report_study import a_study, many_singles

HOSTILE = "</script><img src=x onerror=alert(1)>{{7*7}}%{x}$a_b^$\u2028&lt;"


class Elements(HTMLParser):
    """Every element with its attributes, every script's text, and the text beside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.texts.append(data)


def test_pictures_of_runs_stand_side_by_side_by_prompt(tmp_path: Path) -> None:
    content = a_study()
    records = [record for record in content.records if record.spec.purpose == "final"]
    ended = {record.spec.method.title for record in records if record.status == "ok"}
    left = [with_sheets(record, tmp_path, number) for number, record in enumerate(records)]
    tables = picture_tables(left, {}, tmp_path)
    by_prompt, ends = tables
    assert by_prompt.headings[0] == "base"
    assert sorted(by_prompt.headings[1:]) == sorted(ended - {"base"})
    assert [name for name, _ in by_prompt.rows] == ["a dog", "a <b>cat</b>"]
    assert all(address.startswith("data:image/jpeg;base64,") for _, row in by_prompt.rows for address in row)
    assert {name for name, _ in ends.rows} == ended
    shown = study_in(made(replace(content, pictures=tables)))["pictures"]
    addresses = [address for table in shown for row in table["rows"] for address in row["pictures"]]
    assert len(addresses) == 2 * len(by_prompt.headings) + 4 * len(ended)
    assert not study_in(made(content))["pictures"]


def test_a_sheet_that_is_gone_or_is_none_of_ours_is_left_out(tmp_path: Path) -> None:
    record = next(record for record in a_study().records if record.spec.purpose == "final")
    outside = tmp_path / "outside.png"
    Image.new("RGB", (8, 8)).save(outside)
    folder = tmp_path / "study"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "plain.png")
    (folder / "text.png").write_text("no picture", "utf-8")
    for path in ("missing.png", "plain.png", "text.png", "../outside.png"):
        artefact = Artefact(name="samples", path=path, about="")
        assert picture_tables([record.model_copy(update={"artefacts": (artefact,)})], {}, folder) == []


def with_sheets(record: RunRecord, folder: Path, number: int) -> RunRecord:
    """A record whose run left two sheets, as the task of pictures writes them."""
    tile = torch.full((64, 64, 3), 10 * number, dtype=torch.uint8)
    rows = [GridRow(prompt=prompt, pictures=[tile, tile + 9]) for prompt in ("a dog", "a <b>cat</b>")]
    left = []
    for name, columns in (("samples", ["base", "noise 0"]), ("test", ["real", "noise 0"])):
        path = folder / f"{record.run_id}-{name}.png"
        path.write_bytes(grid_png(rows, columns, {"run_id": record.run_id}, beside=1))
        left.append(Artefact(name=name, path=path.name, about=""))
    return record.model_copy(update={"artefacts": tuple(left)})


def made(content: ReportContent) -> str:
    return report_page(report_data(content), {})


def study_in(text: str) -> dict[str, Any]:
    """The study's document as it lies in a page."""
    found = re.search(r'<script type="application/json" id="documents">(.*?)</script>', text, re.DOTALL)
    assert found is not None

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return dict(json.loads(found[1], parse_constant=refuse)["study/study"])


@pytest.fixture(scope="module")
def text() -> str:
    return made(a_study())


def test_the_page_holds_all_it_needs_and_its_policy_lets_it_load_nothing(text: str) -> None:
    found = Elements(text)
    for tag, attributes in found.elements:
        assert "src" not in attributes, (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "a"), tag
    policy = next(a["content"] for t, a in found.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'"
    assert parts["img-src"] == "data: blob:"
    digest = base64.b64encode(hashlib.sha256(found.scripts[1].encode()).digest()).decode()
    assert parts["script-src"] == f"'sha256-{digest}'"
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"@import|url\(", style)
    assert len(found.scripts) == 2


def test_what_a_reader_must_know_comes_before_the_recommendation(text: str) -> None:
    first = {part["title"]: part["lines"] for part in study_in(text)["first"]}
    assert first["Methods differ in more than the method"] == ["oft adapts 60 modules, the others 210"]
    assert first["Learning rates that are not bracketed"] == [
        "oft: a lower one may be better, so it is never called worse."
    ]
    assert "ia3: 1 of 4 trainings diverged." in first["Trainings that went wrong"]
    assert "No score at all: vera." in first["Trainings that went wrong"]


def test_a_reader_without_scripts_gets_the_answer(text: str) -> None:
    start = text.index("<noscript>")
    assert "Take ln-tuning" in text[start : text.index("</noscript>", start)]


def test_hostile_words_cannot_break_out_of_json_or_html() -> None:
    study = a_study(labels={"lora": HOSTILE, "vera": f"vera {HOSTILE}"}, name=HOSTILE, warnings=(HOSTILE,))
    bad = [r.model_copy(update={"reason": HOSTILE, "warnings": (HOSTILE,)}) for r in study.records]
    topics = (Topic(title=HOSTILE, lines=(HOSTILE,), rows=((HOSTILE,), (HOSTILE,))),)
    text = made(replace(study, records=bad, place=f"results/{HOSTILE}", fairness=topics, recommendation=topics))
    found = Elements(text)
    assert not [tag for tag, attributes in found.elements if tag == "img" or "onerror" in attributes]
    assert len(found.scripts) == 2
    assert HOSTILE in study_in(text)["methods"]
    title = text.split("<title>")[1].split("</title>")[0]
    assert html.unescape(title).startswith(HOSTILE)


def test_non_finite_values_are_null_in_the_page() -> None:
    study = a_study()
    run = next(r for r in study.records if r.curve)
    broken = run.model_copy(update={"curve": (*run.curve, replace(run.curve[-1], step=40, train_loss=float("nan")))})
    trials = tuple(replace(t, valid_loss=float("inf")) for t in study.tunings[0].trials)
    tunings = (replace(study.tunings[0], trials=trials), *study.tunings[1:])
    data = study_in(made(replace(study, records=[broken], tunings=tunings)))
    assert data["training"][0]["loss"]["values"][-1] is None
    assert all(trial["loss"] is None for trial in data["learning_rates"][0]["trials"] if trial["state"] == "done")


@pytest.mark.parametrize(
    "parts",
    [
        {"tunings": ()},
        {"records": ()},
        {"fronts": (), "recommendation": (), "fairness": (), "warnings": ()},
    ],
    ids=["without tuning", "without records", "bare"],
)
def test_an_incomplete_study_still_gets_a_page(parts: dict[str, Any]) -> None:
    data = study_in(made(a_study(**parts)))
    assert bool(data["best"]) == ("tunings" not in parts)
    assert bool(data["learning_rates"]) == ("tunings" not in parts)


def test_a_page_of_52_single_runs_reports_them_as_such() -> None:
    data = study_in(made(many_singles()))
    assert len(data["tiers"]["points"]) == 52
    assert data["pairs"]["matrix"] is None
    assert all(point["single"] and point["low"] is None for point in data["tiers"]["points"])
    assert "Every method is a single run" in str(data["tiers"]["notes"])


def test_all_files_are_written_and_a_second_report_replaces_them(tmp_path: Path) -> None:
    study = a_study(labels={"lora": "=cmd|' /C calc'!A0"})
    files = write_report(study, tmp_path / "report")
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {
        "report.html", "runs.csv", "verdicts.csv", "summary.md", "front.png", "front.svg", "tiers.png", "tiers.svg",
        "learning_rates.png", "learning_rates.svg",
    }  # fmt: skip
    assert files["front_png"].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in files["tiers_svg"].read_text()
    files["report"].write_text("old")
    write_report(study, tmp_path / "report")
    assert files["report"].read_text().startswith("<!doctype html>")
    assert {path.name for path in (tmp_path / "report").iterdir()} == names
    rows = list(csv.DictReader(io.StringIO(files["verdicts"].read_text())))
    assert len(rows) == len(study.verdict.pairs)
    assert any(row["first"] == "'=cmd|' /C calc'!A0" for row in rows)


def test_figures_are_written_for_any_method_name(tmp_path: Path) -> None:
    write_report(a_study(labels={"lora": "$\\frac{1}{$", "oft": "名前 \n x", "lily": "l" * 200}), tmp_path)
    assert (tmp_path / "front.png").stat().st_size > 10_000


def test_an_unwritable_report_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written to"):
        write_report(a_study(), tmp_path / "file" / "report")


def test_the_markdown_summary_contains_warnings_failures_and_caveats() -> None:
    text = summary_text(report_data(a_study(labels={"lora": "a|b <b>"})))
    assert "**Warning: oft adapts 60 modules" in text
    assert "a\\|b &lt;b>" in text
    assert "- vera lr 0.0003 seeds 1, 2, 3: oom: oom for a reason" in text
    assert "conditional on the frozen configurations" in text


def test_the_verdict_csv_uses_full_precision_and_leaves_unknowns_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(verdicts_csv(a_study()))))
    assert rows[0]["verdict"] == "undecided"
    assert float(rows[0]["difference"]) == pytest.approx(0.015)
    better = next(row for row in rows if row["verdict"] == "better")
    assert better["more_seeds"] == ""
