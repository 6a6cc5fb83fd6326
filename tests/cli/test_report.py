"""A report, as a stranger asks for one."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peftscope.schema.record import RunRecord
from pretend import a_study_folder
from published import text_result
from views.report_study import a_study

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study's folder: 8 methods, one of which failed."""
    return a_study_folder(tmp_path / "results" / "tickets", records=list(a_study().records))


def page_data(path: Path) -> dict[str, Any]:
    """The study's document as it lies in a page."""
    found = re.search(r'<script type="application/json" id="documents">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1])["study/study"])


def test_a_report_in_the_study_folder_covers_every_method(call: Call, study: Path) -> None:
    code, out, err = call("report", "results/tickets")
    assert code == 0, err
    assert "wrote results/tickets/report/report.html" in out
    assert "front.png/svg" in out
    text = (study / "report/report.html").read_text()
    data = page_data(study / "report/report.html")
    assert set(data["methods"]) == {"base", "lily", "ln-tuning", "rslora", "lora", "dora", "oft", "ia3", "vera"}
    for part in (
        "oom for a reason",
        "conditional on the frozen configuration",
        "Take ",
        "not all have results of the same seeds",
    ):
        assert part in text, part
    assert (study / "report/front.svg").read_text().count("<svg") == 1
    before = {path.name for path in (study / "report").iterdir()}
    assert call("report", "results/tickets")[0] == 0
    assert {path.name for path in (study / "report").iterdir()} == before


def test_the_json_names_every_file(call: Call, study: Path, tmp_path: Path) -> None:
    code, out, err = call("report", "results/tickets", "--out", "there", "--json")
    document = json.loads(out)
    assert code == 0, err
    assert document["schema"] == "peftscope.report/1"
    assert Path(document["page"]) == (tmp_path / "there/report.html").resolve()
    assert {"report", "runs", "verdicts", "summary", "front_png", "front_svg", "tiers_png"} <= set(document["files"])
    assert all(Path(path).is_file() for path in document["files"].values())
    assert not (study / "report").exists()


def test_the_page_is_opened_on_request_alone(call: Call, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)) or False)
    call("report", "results/tickets")
    assert opened == []
    code, _, err = call("report", "results/tickets", "--open")
    assert code == 0
    assert opened == [(study / "report/report.html").resolve().as_uri()]
    assert "no browser could be opened" in err


def test_imported_results_are_reported_as_single_runs(call: Call, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    for rank in (8, 16):
        document = text_result(experiment_name=f"lora/rank{rank}")
        (tmp_path / f"theirs/{rank}.json").write_text(json.dumps(document))
    call("import-results", "theirs")
    code, _, err = call("report", "results/theirs")
    assert code == 0, err
    data = page_data(tmp_path / "results/theirs/report/report.html")
    assert "results that others published" in str(data["first"])
    assert "single run" in str(data["tiers"])
    assert "rerun" not in str(data["study"]["commands"])  # nobody can repeat these here


def test_the_margin_decides_which_methods_are_equivalent(call: Call, study: Path) -> None:
    def verdicts(margin: str) -> set[str]:
        assert call("report", "results/tickets", "--margin", margin)[0] == 0
        rows = (study / "report/verdicts.csv").read_text().splitlines()
        return {row["verdict"] for row in csv.DictReader(rows)}

    assert "equivalent" in verdicts("0.9")
    assert page_data(study / "report/report.html")["pairs"]["margin"] == "90.0 points"
    assert "equivalent" not in verdicts("0.0001")


def test_no_local_path_is_in_a_report(call: Call, study: Path, tmp_path: Path) -> None:
    assert call("report", str(tmp_path / "results/tickets"))[0] == 0
    written = [
        path for path in (tmp_path / "results/tickets/report").iterdir() if path.suffix in (".html", ".md", ".csv")
    ]
    assert len(written) == 4
    assert not any(str(tmp_path) in path.read_text(encoding="utf-8") for path in written)
    assert "results/tickets" in (tmp_path / "results/tickets/report/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["nowhere"], "no such file or folder"),
        (["results"], "this folder holds no records; did you mean results/"),
        (["results/empty"], "no records in"),
        (["results/failed"], "none of its 3 final runs has a result"),
        (["results/tickets", "--out", "file/report"], "cannot be written to"),
        (["results/tickets", "--margin", "much"], "--margin"),
    ],
)
def test_wrong_requests_end_with_exit_code_2_and_say_why(
    arguments: list[str], part: str, call: Call, study: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "results/empty/records").mkdir(parents=True)
    failed: list[RunRecord] = [r for r in a_study().records if r.status == "oom"]
    a_study_folder(tmp_path / "results/failed", records=failed)
    code, out, err = call("report", *arguments)
    assert code == 2
    assert part in err
    assert "Traceback" not in err
    assert not out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_exits_with_code_2(call: Call, study: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    code, _, err = call("report", "results/tickets", "--out", "locked/report")
    assert code == 2
    assert "cannot be written to" in err
