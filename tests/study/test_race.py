"""Promises about a study in which a method was eliminated: told everywhere, in no candidate's way, no failure."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from peftscope.analysis import race
from peftscope.analysis.front import front_of
from peftscope.analysis.race import Contest, droppable_in
from peftscope.analysis.study_verdict import judge
from peftscope.errors import StoreError
from peftscope.execution.history import changes_of_study, earlier_runs, known_runs, race_history
from peftscope.schema.elimination import Elimination, renamed
from peftscope.schema.request import Request
from peftscope.schema.study import StudySpec
from peftscope.store.files import read_records, write_record
from peftscope.store.race import RACE_FILE, keeper_of_looks, race_looks
from peftscope.store.study import STUDY_FILE, read_stored_study, write_study
from peftscope.study.comparison import comparison_of
from peftscope.study.outlook import race_lines
from peftscope.study.recommendation import recommend_from
from peftscope.study.report import material
from peftscope.study.requirements import Requirements
from peftscope.study.results import StudyResults, _changed_since, results_of
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


def test_no_race_is_told_of_where_none_can_happen() -> None:
    study = StudySpec.model_validate({"name": "s", "model": "m", "task": "math", "methods": ["lora", "base"]})
    assert race_lines(study) == []


def test_whether_a_study_races_is_no_change_unless_its_file_says_so(tmp_path: Path) -> None:
    fields = {"name": "s", "model": "m", "task": "math", "methods": ["lora", "oft"]}
    study = StudySpec.model_validate(fields)
    write_study(tmp_path, study.model_copy(update={"race": False}))
    earlier = earlier_runs(tmp_path)
    assert changes_of_study(earlier, study) == []
    said = changes_of_study(earlier, StudySpec.model_validate({**fields, "race": True}))
    assert "race: false → true" in " ".join(said)


def test_results_of_a_study_run_without_a_race_do_not_say_its_file_has_changed(tmp_path: Path) -> None:
    place, file = tmp_path / "demo", tmp_path / "study.yaml"
    fields = {"seeds": [0, 1, 2], "model": "builtin:nano-lm"}
    make_study(place, SHARES, dear=DEAR, study={**fields, "race": False})
    methods = [name for name in SHARES if name != "base"]
    said = {"name": "demo", "task": "math", "methods": methods, **fields}
    stored = read_stored_study(place)
    assert stored is not None
    file.write_text(json.dumps(said))
    assert _changed_since(file, stored) == []
    file.write_text(json.dumps({**said, "race": True}))
    assert "has changed since" in _changed_since(file, stored)[0]


def test_a_method_eliminated_at_all_its_learning_rates_is_no_unequal_treatment(tmp_path: Path) -> None:
    methods = [{"name": name, "learning_rates": [1e-4, 3e-4]} for name in SHARES if name != "base"]
    make_study(tmp_path, SHARES, dear=DEAR, study={"seeds": [0, 1, 2, 3], "methods": methods})
    found = results_of(tmp_path)
    out = {c.method for c in found.verdict.candidates if c.eliminated is not None}
    assert {"dora lr 0.0001", "dora lr 0.0003"} <= out
    assert not [d for d in found.fairness.differences if d.what == "seeds"]


def test_an_eliminated_method_is_found_under_any_name_of_its_candidates(tmp_path: Path) -> None:
    make_study(tmp_path, SHARES, dear=DEAR, study={"seeds": [0, 1, 2, 3]})
    other = next(r for r in read_records(tmp_path) if r.spec.method.name == "dora" and r.spec.seed == 1)
    write_record(tmp_path, other.model_copy(update={"quality_protocol": "elsewhere"}))
    found = results_of(tmp_path, across=True)
    out = [c.method for c in found.verdict.candidates if c.eliminated is not None]
    assert len(out) == 2
    assert all(name.startswith("dora conditions ") for name in out)


def test_the_chance_to_be_best_is_shared_among_those_that_are_left(tmp_path: Path) -> None:
    shares = {**SHARES, "oft": 0.6, "vera": 0.6}
    make_study(tmp_path, shares, dear={**DEAR, "lora": 0.9}, study={"seeds": [0, 1, 2, 3]})
    candidates = results_of(tmp_path).verdict.candidates
    chances = {c.method: c.best_chance for c in candidates}
    assert chances.pop("dora") is None
    assert sum(chance or 0.0 for chance in chances.values()) == pytest.approx(1.0)


def test_looks_under_other_conditions_count_for_nothing(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "demo")
    study, looks = read_stored_study(place), race_looks(place)
    assert study is not None
    assert looks
    protocol = str(looks[0].quality_protocol)
    earlier = earlier_runs(place)
    same = race_history(earlier, study, protocol, is_reading=False)
    assert same.looks == looks
    assert len(same.finished) == 15
    other = race_history(earlier, study, "other data", is_reading=True)
    assert not other.looks
    assert not other.finished
    assert race_looks(place) == looks
    race_history(earlier, study, "other data", is_reading=False)
    assert not race_looks(place)


def test_looks_that_cannot_be_read_stop_a_start_and_stay_as_they_are(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "demo")
    (place / RACE_FILE).write_text("[{")
    with pytest.raises(StoreError, match="'--no-race'"):
        earlier_runs(place)
    assert (place / RACE_FILE).read_text() == "[{"
    notes: list[str] = []
    assert not earlier_runs(place, notes).looks
    assert "no method counts as eliminated" in notes[0]


def test_looks_that_cannot_be_read_are_noted_where_a_study_is_read(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "demo")
    (place / RACE_FILE).write_text("[{")
    assert any(str(place / RACE_FILE) in note for note in results_of(place).notes)
    assert any(str(place / RACE_FILE) in note for note in status_of(place).document()["notes"])


def test_a_look_is_kept_beside_those_that_were_read(folder: Path, tmp_path: Path) -> None:
    looks = race_looks(folder)
    (tmp_path / RACE_FILE).write_text("[{")
    keeper_of_looks(tmp_path, looks)(looks[0])
    assert race_looks(tmp_path) == (*looks, looks[0])


def test_records_are_read_once_for_all_that_a_start_asks(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "demo")
    study, earlier = read_stored_study(place), earlier_runs(place)
    assert study is not None
    shutil.rmtree(place / "records")
    assert len(known_runs(earlier, study)) == 15
    protocol = str(earlier.looks[0].quality_protocol)
    assert len(race_history(earlier, study, protocol, is_reading=True).finished) == 15


def test_the_better_method_is_named_as_its_candidate(folder: Path) -> None:
    (found,) = _compared(folder).eliminations
    names = {**dict.fromkeys(found.run_ids, "dora lr 1"), **dict.fromkeys(found.by_run_ids, "lora lr 1")}
    assert [(each.method, each.by) for each in renamed([found], names)] == [("dora lr 1", "lora lr 1")]


@pytest.mark.slow
def test_a_real_study_starts_no_run_of_an_eliminated_method_until_asked_to(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = {"name": "lora", "label": "big", "knobs": {"r": 64}}
    study = Study({**fields, "methods": ["lora", big], "seeds": [0, 1, 2]}, out=tmp_path / "raced")

    def at_once(contest: Contest, alpha: float) -> list[Elimination]:
        assert "big" in droppable_in(contest)  # by what its runs really took
        runs = {"run_ids": contest.raced["big"], "by_run_ids": contest.raced["lora"]}
        return [Elimination(method="big", by="lora", worse=(), p_value=alpha, **runs)]

    monkeypatch.setattr(race, "eliminated_in", at_once)
    events: list[Mapping[str, Any]] = []
    first = study.run_with(RunOptions(), Reporter(quiet=True, on_event=events.append))
    seeds = [(r.spec.method.title, r.spec.seed) for r in first.finals]
    assert sorted(seeds) == [("base", 0), ("big", 0), ("big", 1), ("lora", 0), ("lora", 1), ("lora", 2)]
    assert not first.has_failures
    assert events[-1]["num_runs"] == 6
    assert [each.method for each in study.status().read_status.eliminations] == ["big"]
    assert study.status().document()["num_to_come"] == 0
    whole = study.run_with(RunOptions(race=False), Reporter(quiet=True))
    assert len(whole.finals) == 7
    assert not whole.eliminations
    again = study.run_with(RunOptions(), Reporter(quiet=True))  # everything is there: nobody is eliminated after all
    assert len(again.finals) == 7
    assert not again.eliminations
