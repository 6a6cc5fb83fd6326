"""What a study came to is gathered whole, and what is left out is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from peftscope.errors import SpecError, StoreError
from peftscope.schema.protocol import Protocol
from peftscope.schema.record import RunRecord
from peftscope.store.files import read_records, record_path, write_record
from peftscope.store.run_states import file_lock
from peftscope.study.results import distinct_names, results_of, traits_by_name
from pretend import a_record, a_run, a_study_folder
from pretend_study import ACCURACY, make_study

SHARES = {"base": 0.2, "lora": 0.5, "ia3": 0.4}


def _record(method: str = "lora", *, data: str = "one", cpu: str = "EPYC", **parts: Any) -> RunRecord:
    run = a_run(method, **{k: parts.pop(k) for k in ("seed", "rate", "label") if k in parts})
    protocol = Protocol(quality={"data": data}, cost={"cpu": cpu})
    metrics = {"test_score": 0.5, "train_time_s": 10.0, "peak_train_memory_bytes": 1000, **parts.pop("metrics", {})}
    return a_record(
        run, metric=ACCURACY, metrics=metrics, protocol=protocol, quality_protocol=protocol.quality_hash,
        cost_protocol=protocol.cost_hash, **parts,
    )  # fmt: skip


def test_the_verdict_excludes_trials_and_the_tuning_is_found(tmp_path: Path) -> None:
    make_study(tmp_path / "demo", SHARES, study={"tuning": {"trials": 3}})
    found = results_of(tmp_path / "demo")
    assert set(found.runs["purpose"]) == {"final"}
    assert {record.spec.purpose for record in found.records} == {"final", "trial"}
    assert [tuning.method for tuning in found.tunings] == ["lora", "ia3"]
    assert all(tuning.chosen is not None and len(tuning.trials) == 3 for tuning in found.tunings)
    assert found.metric == ACCURACY
    assert {m.name for m in found.metrics} >= {"peak_train_memory_bytes", "checkpoint_bytes", "forgetting"}
    assert all(m.direction != "neutral" for m in found.metrics)
    assert {c.method for c in found.verdict.candidates} == {"base", "lora", "ia3"}
    assert found.notes == ()


def test_different_learning_rates_conditions_and_repeated_seeds_are_separate_candidates() -> None:
    rates = [_record(rate=1e-3), _record(rate=1e-4), _record("ia3")]
    assert set(distinct_names(rates).values()) == {"lora lr 0.001", "lora lr 0.0001", "ia3"}
    seeds = [_record(seed=0), _record(seed=1)]
    assert set(distinct_names(seeds).values()) == {"lora"}
    worlds = [_record(seed=0), _record(seed=1, data="two")]
    assert len(set(distinct_names(worlds).values())) == 2
    twice = [_record(), _record().model_copy(update={"run_id": "another"})]
    assert set(distinct_names(twice).values()) == {f"lora run {r.run_id[:8]}" for r in twice}


def test_choosing_a_learning_rate_on_the_test_split_causes_a_warning(tmp_path: Path) -> None:
    two = {"learning_rates": [1e-3, 1e-4]}
    methods = [{"name": "lora", **two}, {"name": "ia3", "label": "mine lr x", **two}]
    make_study(tmp_path / "demo", {"lora": 0.5, "mine lr x": 0.4}, study={"methods": methods})
    found = results_of(tmp_path / "demo")
    assert [note.split(": each learning rate is a candidate")[0] for note in found.notes] == ["lora", "mine lr x"]
    assert "lora lr 0.001" in {c.method for c in found.verdict.candidates}
    methods = [{"name": "lora"}, {"name": "ia3", "label": "mine lr x"}]
    make_study(tmp_path / "other", {"lora": 0.5, "mine lr x": 0.4}, study={"methods": methods})
    assert results_of(tmp_path / "other").notes == ()


def test_runs_no_longer_in_the_study_are_excluded_and_counted(tmp_path: Path) -> None:
    make_study(tmp_path / "demo", SHARES)
    write_record(tmp_path / "demo", _record("oft", metrics={"test_score": 0.9}))
    found = results_of(tmp_path / "demo")
    assert "oft" not in {c.method for c in found.verdict.candidates}
    assert found.notes == ("1 run of a former form of the study left out",)


def test_runs_still_to_do_are_counted(tmp_path: Path) -> None:
    make_study(tmp_path / "demo", SHARES)
    done = [r for r in read_records(tmp_path / "demo") if r.spec.method.name == "ia3"]
    record_path(tmp_path / "demo", done[0].run_id).unlink()
    assert results_of(tmp_path / "demo").notes == ("1 run of the study still to do: 'peftscope compare' does them",)


def test_what_other_conditions_left_out_names_a_whole_command(tmp_path: Path) -> None:
    make_study(tmp_path / "demo", SHARES, protocols={"ia3": "other"})
    (note,) = (note for note in results_of(tmp_path / "demo").notes if "under other conditions left out" in note)
    assert "'peftscope report --across' takes them together" in note


def test_a_study_under_way_is_not_told_to_resume(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    make_study(folder, SHARES)
    records = read_records(folder)
    lost, *others = [r for r in records if r.spec.method.name != "base"]
    record_path(folder, lost.run_id).unlink()
    with file_lock(folder / ".lock"):
        assert results_of(folder).notes == (f"under way: {len(records) - 1} of {len(records)} runs done",)
        for record in others:
            record_path(folder, record.run_id).unlink()
        with pytest.raises(SpecError, match=rf"no run has ended yet; under way: \d+ of {len(records)} runs done"):
            results_of(folder)
    with pytest.raises(SpecError, match="no run has ended yet; 'peftscope compare' resumes it"):
        results_of(folder)


def test_a_study_is_found_by_file_and_file_changes_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = make_study(tmp_path / "results/demo", SHARES)
    file = tmp_path / "study.yaml"
    plain = spec.model_dump(mode="json", exclude_defaults=True)
    file.write_text(yaml.safe_dump(plain))
    assert results_of(file).notes == ()
    file.write_text(yaml.safe_dump({**plain, "seeds": [0, 1]}))
    assert "has changed since it was run last" in results_of(file).notes[0]


def test_two_tasks_are_never_judged_together(tmp_path: Path) -> None:
    other = _record("oft")
    other = other.model_copy(
        update={"spec": other.spec.model_copy(update={"task": {"name": "own-data"}}), "run_id": "o"}
    )
    other = RunRecord.model_validate(other.model_dump(by_alias=True, warnings=False))
    a_study_folder(tmp_path / "mixed", records=[_record(seed=0), _record(seed=1), other])
    found = results_of(tmp_path / "mixed", across=True)
    assert [c.method for c in found.verdict.candidates] == ["lora"]
    assert found.notes == ("1 run of own-data on m left out: math on m has more",)


def test_times_from_another_machine_are_excluded_unless_requested(tmp_path: Path) -> None:
    records = [_record(), _record("oft"), _record("ia3", cpu="Xeon")]
    a_study_folder(tmp_path / "two", records=records)
    found = results_of(tmp_path / "two")
    assert "train_time_s" not in found.verdict.candidate("ia3").metrics
    assert "peak_train_memory_bytes" not in found.verdict.candidate("ia3").metrics
    assert found.verdict.candidate("ia3").score is not None
    assert "times and memory of 1 run left out" in found.notes[0]
    both = results_of(tmp_path / "two", across=True)
    assert both.verdict.candidate("ia3").metrics["train_time_s"].mean == 10.0


def test_a_damaged_record_is_excluded_and_reported(tmp_path: Path) -> None:
    make_study(tmp_path / "demo", SHARES)
    broken = tmp_path / "demo/records/0000.json"
    broken.write_text("{")
    found = results_of(tmp_path / "demo")
    assert any(str(broken) in note for note in found.notes)
    assert {c.method for c in found.verdict.candidates} == set(SHARES)
    for path in (tmp_path / "demo/records").glob("*.json"):
        path.write_text("{")
    with pytest.raises(StoreError, match="not a readable record"):
        results_of(tmp_path / "demo")


def test_recommendations_use_the_traits_on_the_method_cards() -> None:
    traits = traits_by_name()
    assert (traits["rslora"].variant_of, traits["rslora"].settings) == ("lora", {"use_rslora": True})
    assert traits["lora-fa"].optimizer == "lora-fa"
    assert "mergeable" not in traits["lily"].abilities
    assert traits["pissa"].changes_base
    assert traits["eva"].starts_from_data
