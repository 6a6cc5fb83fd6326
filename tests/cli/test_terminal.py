"""Every command's output in a terminal of 80 columns and others: nothing cut, as it was looked at.

The outputs at 80 columns lie in ``terminal_80``; ``UPDATE_SNAPSHOTS=1`` writes them anew, to be looked at again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from rich.cells import cell_len

from peftscope.methods.catalog import cards
from pretend_study import make_study
from published import image_result, text_result
from tiny import tiny_llama

Call = Callable[..., tuple[int, str, str]]

SNAPSHOTS = Path(__file__).with_name("terminal_80")
LONG = "prefix-tuning-projection"
SHARES = {"base": 0.2, "lora": 0.50, "rslora": 0.53, LONG: 0.528, "ia3": 0.40}
COMMANDS = {
    "methods": ["methods"],
    "card": ["methods", "lora"],
    "recommend": ["recommend", "results/demo"],
    "limits": ["recommend", "results/demo", "--max-memory", "1.1GB", "--max-latency", "50ms", "--max-time", "2min"],
    "status": ["status", "results/demo"],
    "show": ["show", "RUN"],
    "import": ["import-results", "theirs"],
    "plan": ["plan", "--model", "config.json", "--methods", "lora,prefix-tuning-projection", "--max-memory", "9MB"],
    "wrong": ["compare", "nowhere.yaml"],
}
TO_COPY = re.compile(r"\s*(peftscope |Records: |What to take: |All of it: |.*results/)")
"""Lines that are never broken, so that they can be copied."""


@pytest.fixture(params=[80])
def columns(request: pytest.FixtureRequest) -> int:
    """Width of the terminal."""
    return int(request.param)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A terminal without colours, and files for every command to tell of."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "dumb"), ("LINES", "60")):
        monkeypatch.setenv(name, value)
    make_study(tmp_path / "results/demo", SHARES, study={"tuning": {"trials": 4}}, broken={"ia3": "oom"})
    (tmp_path / "theirs").mkdir()
    long_name = "lora/llama-3.2-3B-rank64-target-modules-of-mine"
    for number, result in enumerate((text_result(), text_result(experiment_name=long_name), image_result())):
        (tmp_path / "theirs" / f"{number}.json").write_text(json.dumps(result))
    tiny_llama().config.save_pretrained(tmp_path)


def _normal(text: str, tmp_path: Path) -> str:
    text = text.replace(str(tmp_path), "TMP")
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*( UTC)?", "WHEN", text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"


def _arguments(name: str, tmp_path: Path) -> list[str]:
    run = min(path.stem for path in (tmp_path / "results/demo/records").glob("*.json"))
    return [run if word == "RUN" else word for word in COMMANDS[name]]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("columns", [80, 200], indirect=True)
@pytest.mark.parametrize("name", list(COMMANDS))
def test_no_line_is_cut_or_broken_by_the_terminal(name: str, columns: int, call: Call, tmp_path: Path) -> None:
    code, out, err = call(*_arguments(name, tmp_path))
    assert code in (0, 1, 2), err
    assert "Traceback" not in err
    lines = [line for line in (out + err).splitlines() if not TO_COPY.match(line)]
    assert [line for line in lines if cell_len(line.rstrip()) > columns] == []
    assert not any("…" in line and "│" in line for line in lines)
    if columns == 80 and "plan" not in name:
        path = SNAPSHOTS / f"{name}.txt"
        if os.environ.get("UPDATE_SNAPSHOTS"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(_normal(out + err, tmp_path), encoding="utf-8")
        assert _normal(out + err, tmp_path) == path.read_text(encoding="utf-8")


@pytest.mark.usefixtures("terminal")
def test_every_name_and_figure_of_a_wide_table_stands_in_a_narrow_one(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = call(*COMMANDS["plan"])[1]
    monkeypatch.setenv("COLUMNS", "200")
    wide = call(*COMMANDS["plan"])[1]
    assert set(wide.split()) == set(narrow.split())
    assert LONG in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    assert len(wide.splitlines()) < len(narrow.splitlines())


def test_methods_are_listed_with_their_whole_names(call: Call) -> None:
    _, out, _ = call("methods")
    listed = [line.split()[0] for line in out.splitlines() if line and not line.startswith(" ")]
    assert listed == list(cards())


def test_a_study_that_has_just_begun_has_no_end_in_sight(call: Call, tmp_path: Path) -> None:
    (tmp_path / "results/demo").mkdir(parents=True)
    with FileLock(tmp_path / "results/demo/.lock"):
        _, out, _ = call("status", "results/demo")
    assert "ETA" not in out


def test_long_titles_are_shown_whole_where_there_is_room_without_other_columns(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", {"base": 0.2, LONG: 0.5}, study={"seeds": [0, 1]})
    _, out, _ = call("status", "results/demo")
    assert f"{LONG} lr 0.0001 seed 0" in out
