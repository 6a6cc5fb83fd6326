"""Promises about a study in which a method was eliminated: told everywhere, in no candidate's way, no failure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from peftscope.analysis import race
from peftscope.analysis.elimination import Elimination
from peftscope.analysis.front import front_of
from peftscope.analysis.race import Contest, droppable_in
from peftscope.analysis.study_verdict import judge
from peftscope.schema.request import Request
from peftscope.schema.study import StudySpec
from peftscope.store.files import read_records
from peftscope.store.study import STUDY_FILE, read_stored_study
from peftscope.study.comparison import comparison_of
from peftscope.study.outlook import race_lines
from peftscope.study.recommendation import recommend_from
from peftscope.study.report import material
from peftscope.study.requirements import Requirements
from peftscope.study.results import StudyResults, results_of
from peftscope.study.running import RunOptions
from peftscope.study.status import status_of
from peftscope.study.study import Study
from peftscope.views.progress.reporter import Reporter
from peftscope.views.report.first import first_data
from peftscope.views.report.tables import score_table
from pretend_study import ACCURACY, make_study

SHARES = {"base": 0.1, "lora": 0.6, "rslora": 0.58, "dora": 0.2, "ia3": 0.15}
DEAR = {"dora": 1.4, "rslora": 1.1, "ia3": 0.4}
LINE = "dora: eliminated after 2 seeds: worse than lora on accuracy (20."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("race") / "demo"
    make_study(place, SHARES, dear=DEAR, study={"seeds": [0, 1, 2, 3]})
    return place


@pytest.fixture(scope="module")
def found(folder: Path) -> StudyResults:
    return results_of(folder)


def _compared(folder: Path) -> Any:
    study = read_stored_study(folder)
    return comparison_of(read_records(folder), ACCURACY, folder=folder, title="demo", study=study)


def test_the_dominated_method_has_two_seeds_and_the_cheap_low_one_all(found: StudyResults) -> None:
    counts = {c.method: c.num_seeds for c in found.verdict.candidates}
    assert counts == {"base": 1, "lora": 4, "rslora": 4, "dora": 2, "ia3": 4}
    assert found.notes == ()


def test_an_eliminated_method_is_in_no_pair_tier_or_front(found: StudyResults) -> None:
    verdict = found.verdict
    assert verdict.candidate("dora").eliminated is not None
    assert not {"dora"} & {name for pair in verdict.pairs for name in (pair.first, pair.second)}
    assert not any("dora" in tier for tier in verdict.tiers)
    front = front_of(verdict, [found.metric, next(m for m in found.metrics if m.limit == "memory")])
    assert "dora" not in front.points
    assert "eliminated in the race, so not placed: dora" in front.notes
    assert "ia3" in front.members


def test_what_is_left_is_corrected_over_all_methods(found: StudyResults) -> None:
    fewer = found.runs[found.runs["method"] != "dora"]
    alone = judge(fewer, found.examples, found.metric, base="base").pair("lora", "rslora")
    kept = found.verdict.pair("lora", "rslora")
    assert alone is not None
    assert kept is not None
    assert (kept.p_adjusted or 0.0) >= (alone.p_adjusted or 1.0)


def test_comparison_status_recommendation_and_report_tell_the_same_line(folder: Path, found: StudyResults) -> None:
    compared = _compared(folder)
    told = recommend_from(folder, Requirements(), Request("recommend"))
    texts = [
        str(compared), str(status_of(folder)), str(told),
        *(line for entry in first_data(material(found, "demo")) for line in entry["lines"]),
    ]  # fmt: skip
    assert sum(LINE in " ".join(text.split()) for text in texts) == 4
    row = next(row for row in score_table(found.verdict)["rows"] if row[0]["text"] == "dora")
    assert row[3]["text"] == "2 (eliminated)"
    assert row[3]["title"].startswith(LINE)
    for document in (compared.document(), status_of(folder).document(), told.document(), found.document()):
        (entry,) = document["eliminated"]
        assert (entry["method"], entry["by"]) == ("dora", "lora")
        assert entry["worse"][0]["metric"] == "accuracy"


def test_an_elimination_is_no_failure_and_its_runs_are_in_no_count(folder: Path) -> None:
    assert not _compared(folder).has_failures
    assert not any("same seeds" in d.claim for d in _compared(folder).fairness.differences)
    status = status_of(folder)
    assert not status.has_failures
    assert status.document()["num_to_come"] == 0
    assert len(status.document()["runs"]) == 1 + 3 * 4 + 2


def test_a_study_kept_from_before_there_was_a_race_has_none(folder: Path, tmp_path: Path) -> None:
    raw = json.loads((folder / STUDY_FILE).read_text())
    assert raw.pop("race") is True
    (tmp_path / STUDY_FILE).write_text(json.dumps(raw))
    old = read_stored_study(tmp_path)
    assert old is not None
    assert not old.race


def test_a_race_is_told_of_before_it_starts() -> None:
    study = StudySpec.model_validate({"name": "s", "model": "m", "task": "math", "methods": ["lora", "oft"]})
    assert "'--no-race' trains all to the end" in race_lines(study)[0]
    assert race_lines(study.model_copy(update={"race": False})) == []


@pytest.mark.slow
def test_a_real_study_starts_no_run_of_an_eliminated_method_until_asked_to(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = {"name": "lora", "label": "big", "knobs": {"r": 64}}
    study = Study({**fields, "methods": ["lora", big], "seeds": [0, 1, 2]}, out=tmp_path / "raced")

    def at_once(contest: Contest, alpha: float) -> list[Elimination]:
        assert "big" in droppable_in(contest)  # by what its runs really took
        return [Elimination(method="big", by="lora", num_seeds=2, worse=(), p_value=alpha)]

    monkeypatch.setattr(race, "eliminated_in", at_once)
    events: list[Mapping[str, Any]] = []
    first = study.run_with(RunOptions(), Reporter(quiet=True, on_event=events.append))
    seeds = [(r.spec.method.title, r.spec.seed) for r in first.finals]
    assert sorted(seeds) == [("base", 0), ("big", 0), ("big", 1), ("lora", 0), ("lora", 1), ("lora", 2)]
    assert not first.has_failures
    assert events[-1]["num_runs"] == 6
    whole = study.run_with(RunOptions(race=False), Reporter(quiet=True))
    assert len(whole.finals) == 7
    assert not whole.eliminations
