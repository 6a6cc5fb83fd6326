"""One command tells everything of a run, and how to repeat it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from peftscope.errors import SpecError
from peftscope.schema.protocol import Protocol
from peftscope.schema.record import CurvePoint, ExampleOutcome, MethodFacts, RunRecord
from peftscope.store.files import read_records
from peftscope.study.folder import find_record
from pretend import a_record, a_run, a_state, a_study_folder
from pretend_study import make_study

Call = Callable[..., tuple[int, str, str]]
HOSTILE = "[red]x[/] [/bold] \x1b[2J"


def _full() -> RunRecord:
    """A run with everything a record can hold."""
    protocol = Protocol(quality={"weights": "ab" * 32, "task": {"version": 1}}, cost={"cpu": "EPYC"})
    return a_record(
        a_run("lora", label=HOSTILE),
        method_facts=MethodFacts(
            tuner_class="peft.tuners.lora.model.LoraModel",
            adapted_modules=tuple(f"model.layers.{i}.self_attn.{name}" for i in range(3) for name in ("q", "v")),
            peft_config={"r": 8},
            learning_rate_source="given with the study",
        ),
        weights_sha256="ab" * 32,
        metrics={
            "test_score": 0.48,
            "truncated_share": 0.25,
            "forgetting": 0.125,
            "train_time_s": 75.2,
            "peak_train_memory_bytes": 2_500_000,
            "num_trainable_params": 65_536,
            "units_per_s": 1001.0,
            "drift": None,
        },
        missing={"drift": "general_tokens is 0", "general_loss": "general_tokens is 0"},
        curve=tuple(
            CurvePoint(step=s, learning_rate=1e-4, train_loss=4.0 / s, valid_score=0.1 * s, train_time_s=s)
            for s in (1, 2, 4)
        ),
        examples=tuple(
            ExampleOutcome(example_id=f"e{i}", score=float(i % 2), output=f"answer {i} {HOSTILE}\n") for i in range(5)
        ),
        warnings=("2 sequences were cut off",),
        protocol=protocol,
        quality_protocol=protocol.quality_hash,
        cost_protocol=protocol.cost_hash,
    )


def test_all_details_of_a_run_are_shown(call: Call, tmp_path: Path) -> None:
    record = _full()
    folder = a_study_folder(tmp_path / "results" / "demo", records=[record])
    (folder / "adapters" / record.run_id).mkdir(parents=True)
    code, out, _ = call("show", record.run_id[:5])
    assert code == 0
    for part in (
        "[red]x[/] [/bold]",
        "lora, here called",
        "peft.tuners.lora.model.LoraModel",
        "6 modules: model.layers.*.self_attn.q (3), model.layers.*.self_attn.v (3)",
        "0.0003, given with the study",
        "weights abababababab",
        "75 s",
        "48",
        "25.0 %",
        "0.125 nats/token",
        "75.2 s",
        "2.5 MB",
        "65,536",
        "drift, general loss: general_tokens is 0",
        "4.000 █",
        " 1.000, to step 4",
        '"answer 0',
        "2 more in the record",
        record.quality_protocol or "",
        "cpu: EPYC",
        "2 sequences were cut off",
        f"results/demo/adapters/{record.run_id}",
        f"peftscope rerun {record.run_id} --study results/demo --threads 2",
    ):
        assert part in out, part
    assert "\x1b[2J" not in out


def test_all_details_of_a_run_are_available_as_json(call: Call, tmp_path: Path) -> None:
    record = _full()
    folder = a_study_folder(tmp_path / "results" / "a study", records=[record])
    code, out, _ = call("show", record.run_id, "--study", str(folder), "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "peftscope.show/1"
    assert RunRecord.model_validate(document["run"]) == record
    assert document["repeat"].endswith(f"--study '{folder}' --threads 2")
    assert document["adapter"] is None


def _text(out: str) -> str:
    """Without the breaks of lines."""
    return " ".join(out.split())


def _sources(call: Call, folder: Path, purpose: str = "final") -> set[str]:
    """What is told of the learning rates' sources, the same in words as in the document."""
    sources = set()
    for record in read_records(folder):
        if record.spec.purpose == purpose and record.spec.learning_rate is not None:
            document = json.loads(call("show", record.run_id, "--json")[1])
            source = document["run"]["method_facts"]["learning_rate_source"]
            assert f"learning rate {record.spec.learning_rate:g}, {source} " in _text(call("show", record.run_id)[1])
            sources.add(source)
    return sources


def test_a_learning_rate_chosen_by_tuning_is_labelled_as_such(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "tuned"
    searched = [{"name": "lora", "search": {"r": [8, 32]}}, "ia3"]
    make_study(folder, {"base": 0.1, "lora": 0.5, "ia3": 0.4}, study={"tuning": {"trials": 2}, "methods": searched})
    assert _sources(call, folder) == {"chosen by tuning on validation data"}
    assert _sources(call, folder, "trial") == {"tried by tuning"}


def test_a_learning_rate_of_an_untuned_study_is_labelled_as_given(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results" / "untuned", {"lora": 0.5, "ia3": 0.4})
    assert _sources(call, tmp_path / "results" / "untuned") == {"given with the study"}


def test_a_rate_from_before_tuning_is_not_labelled_as_chosen(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "grown"
    make_study(folder, {"lora": 0.5}, study={"seeds": [0], "methods": [{"name": "lora", "learning_rates": [0.0123]}]})
    make_study(folder, {"lora": 0.5}, study={"seeds": [0], "tuning": {"trials": 2}})
    assert _sources(call, folder) == {"of a former form of the study", "chosen by tuning on validation data"}


def test_a_failed_run_shows_its_progress_and_the_error_location(call: Call, tmp_path: Path) -> None:
    trace = "Traceback (most recent call last):\n" + "  frame\n" * 20 + f"RuntimeError: {HOSTILE}"
    failed = a_record(
        a_run(), "error", reason=f"RuntimeError: {HOSTILE}", traceback=trace, reached="train, step 3 of 8"
    )
    again = failed.model_copy(update={"attempts": (failed.attempts[0].model_copy(update={"reason": "no disk"}),)})
    a_study_folder(tmp_path / "results" / "demo", records=[again, failed])
    code, out, _ = call("show", failed.run_id)
    assert code == 0
    first, second = (line.strip() for line in out.splitlines() if line.startswith("  attempt "))
    assert first == "attempt 1  error, 2026-01-01 00:00:00 UTC, 75 s, came to train, step 3 of 8, no disk"
    assert second == "attempt 2  error, 2026-01-01 00:00:00 UTC, 75 s, came to train, step 3 of 8"
    assert out.count("frame") == 5
    assert "\x1b[2J" not in out


def test_the_trace_of_a_crash_shows_the_innermost_frames(call: Call, tmp_path: Path) -> None:
    trace = (
        "Fatal Python error: Segmentation fault\n\nThread 0x1 (most recent call first):\n  inner\n" + "  outer\n" * 30
    )
    a_study_folder(tmp_path / "results" / "demo", records=[a_record(a_run(), "killed", traceback=trace)])
    assert "inner" in call("show", a_run().run_id)[1]


def test_no_rerun_command_is_shown_for_an_imported_run(call: Call, tmp_path: Path) -> None:
    record = a_record(a_run(), origin="foreign").model_copy(update={"attempts": ()})
    a_study_folder(tmp_path / "results" / "demo", records=[record])
    code, out, _ = call("show", record.run_id)
    assert code == 0
    assert "rerun" not in out


def test_a_record_is_found_by_path_id_or_id_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = a_record(a_run())
    folder = a_study_folder(tmp_path / "elsewhere" / "demo", records=[record])
    path = folder / "records" / f"{record.run_id}.json"
    assert find_record(str(path)) == (folder, record)
    assert find_record(record.run_id[:4], folder) == (folder, record)
    monkeypatch.chdir(path.parent)
    assert find_record(path.name)[0].resolve() == folder


def test_an_ambiguous_id_prefix_lists_the_matching_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [a_run(seed=seed) for seed in range(40)]
    first = runs[0].run_id[0]
    a_study_folder(tmp_path / "results" / "demo", records=[a_record(run) for run in runs])
    same = [run for run in runs if run.run_id.startswith(first)]
    assert len(same) > 1
    with pytest.raises(SpecError, match="could be several runs") as refused:
        find_record(first)
    assert all(f"{run.run_id}  {run.title}: ok" in str(refused.value) for run in same[:12])


def test_a_run_found_in_two_studies_requires_naming_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = a_record(a_run())
    for name in ("one", "two"):
        a_study_folder(tmp_path / "results" / name, records=[record])
    with pytest.raises(SpecError, match="say which with --study"):
        find_record(record.run_id)
    assert find_record(record.run_id, Path("results/two"))[0] == Path("results/two")


def test_an_unknown_run_suggests_the_closest_and_active_runs_are_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="there are no records"):
        find_record("abc")
    record, running = a_record(a_run()), a_run(seed=9)
    a_study_folder(tmp_path / "results" / "demo", records=[record], states=[a_state(running)])
    nearly = ("0" if record.run_id[0] != "0" else "1") + record.run_id[1:]
    with pytest.raises(SpecError, match=f"did you mean\n +{record.run_id}"):
        find_record(nearly)
    with pytest.raises(SpecError, match="is under way"):
        find_record(running.run_id[:10])
    for hopeless in ("", "*", "../x", "zzz"):
        with pytest.raises(SpecError, match=f"there are\n +{record.run_id}"):
            find_record(hopeless)
