"""Results of the public benchmark come in and go out without losing a figure."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peftscope.errors import SpecError
from peftscope.measures.registry import metric_specs
from peftscope.methods.adapter_config import method_name
from peftscope.schema.record import Attempt, CurvePoint, ExampleOutcome, MethodFacts, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.store.files import read_records
from peftscope.store.frame import frame_of
from peftscope.upstream.metrics import UPSTREAM_METRICS
from peftscope.upstream.results_in import Names, read_document, read_upstream, store_imported
from peftscope.upstream.results_out import document_of, export_upstream
from published import image_result, text_result

OURS = tuple(metric_specs())
NAMES = Names(method_name=method_name, metrics=OURS)


def read(document: dict[str, Any]) -> RunRecord:
    return read_document(document, NAMES, source="a.json")


def put(folder: Path, **documents: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        text = document if isinstance(document, str) else json.dumps(document)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every leaf by its path; as text, so that NaN equals NaN and 1 is not 1.0."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, repr(value)
    for key, inner in items or ():
        yield from leaves(inner, (*path, key))


def our_record(**changes: Any) -> RunRecord:
    spec = RunSpec(model="m", task={"name": "math", "query_template": "Q {query}"}, method="lora", learning_rate=1e-4)
    environment = {"packages": {"torch": "2.9.0", "peft": "0.19.0"}, "system": "Linux x86_64", "accelerator": None}
    start, end = "2026-01-01T00:00:00+00:00", "2026-01-01T00:01:30+00:00"
    fields: dict[str, Any] = {
        "run_id": spec.run_id,
        "spec": spec,
        "status": "ok",
        "attempts": (Attempt(started_at=start, ended_at=end, status="ok", environment=environment),),
        "method_facts": MethodFacts(tuner_class="x", adapted_modules=("a",), peft_config={"peft_type": "LORA"}),
        "metrics": {"test_score": 0.1, "train_time_s": 3.5, "checkpoint_bytes": 77, "forgetting": 0.3, "drift": None},
        "missing": {"drift": "not asked for"},
        "curve": tuple(
            CurvePoint(step=n, learning_rate=1e-4, train_loss=1 / n, train_time_s=n * 0.7, valid_score=None)
            for n in (1, 2)
        ),
        "examples": (ExampleOutcome(example_id="a", score=1.0, output="4 | =1+1"),),
    }
    return RunRecord(**{**fields, **changes})


def test_import_and_export_preserve_every_value_of_every_published_result(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "published"
    found = read_upstream(source, NAMES)
    assert found.counts == {"MetaMathQA": 52, "image-gen": 25}
    assert not found.skipped
    store_imported(tmp_path / "study", found.records)
    export_upstream(read_records(tmp_path / "study"), tmp_path / "out")
    before = {p.relative_to(source): p for p in source.glob("*/*.json")}
    after = {p.relative_to(tmp_path / "out"): p for p in (tmp_path / "out").glob("*/*.json")}
    assert before.keys() == after.keys()
    for name, path in before.items():
        assert list(leaves(json.loads(path.read_text()))) == list(leaves(json.loads(after[name].read_text()))), name
    again = read_upstream(tmp_path / "out", NAMES)
    assert {r.run_id for r in again.records} == {r.run_id for r in found.records}
    assert store_imported(tmp_path / "study", again.records) == 0


def test_published_results_form_few_condition_groups_and_all_have_scores(shared_data: Path) -> None:
    frame = frame_of(read_upstream(shared_data / "published", NAMES).records)
    assert set(frame["status"]) == {"ok"}
    assert set(frame["origin"]) == {"foreign"}
    assert frame["single"].all()
    assert frame["test_score"].notna().all()
    sizes = frame.groupby("task")["quality_protocol"].value_counts()
    assert sorted(sizes["math"], reverse=True) == [37, 14, 1]  # two states of GSM8K, one adapter in half precision
    assert sorted(sizes["image-gen"], reverse=True) == [24, 1]  # full fine-tuning was given 300 of 750 steps
    assert frame.loc[frame["task"] == "math", "cost_protocol"].nunique() == 4
    # 942 s of upstream's "train time" were 585 s of steps
    text = frame[frame["task"] == "math"]
    assert (text["train_time_s"] < text["upstream_train_time_s"]).all()
    assert frame["checkpoint_bytes"].isna().sum() == 1  # 99999999 stood for a failure


@pytest.mark.parametrize("make", [text_result, image_result])
def test_unknown_fields_survive_everywhere(make: Any, tmp_path: Path) -> None:
    document = make()
    document["new"] = {"a": [1, 2.5, None]}
    document["run_info"]["new"] = 1e-300
    document["run_info"]["train_config"]["new_setting"] = {"x": 0.1}
    document["run_info"]["peft_config"]["new_field"] = [True]
    document["train_info"]["new"] = 2**70
    document["train_info"]["metrics"][0]["new"] = 0.30000000000000004
    document["train_info"]["metrics"].append("not a point")
    document["meta_info"]["new"] = math.nan
    found = read_upstream(put(tmp_path / "in", a=document), NAMES)
    store_imported(tmp_path / "study", found.records)
    (path,) = export_upstream(read_records(tmp_path / "study"), tmp_path / "out")
    assert list(leaves(json.loads(path.read_text()))) == list(leaves(document))
    assert any("new_setting" in warning for warning in found.records[0].warnings)
    assert store_imported(tmp_path / "study", read_upstream(tmp_path / "out", NAMES).records) == 0
    assert found.records[0].quality_protocol != read(make()).quality_protocol  # it may decide quality


def test_only_metrics_measured_over_our_window_get_our_metric_names() -> None:
    record = read(text_result())
    found = {k: v for k, v in record.metrics.items() if v is not None}
    assert found == {
        "test_score": 0.625,
        "valid_score": 0.75,
        "num_steps": 4,
        "num_samples": 16,
        "num_units": 400,
        "train_loss": 1.125,
        "train_time_s": 5.0,
        "units_per_s": 80.0,
        "checkpoint_bytes": 4_200_001,
        "num_trainable_params": 1_050_001,
        "num_total_params": 3_000_000_001,
        "upstream_forgetting": 0.0625,
        "upstream_total_time_s": 90.5,
        "upstream_train_time_s": 60.25,
        "upstream_step_time_s": 1.25,
        "upstream_valid_time_s": 2.0,
        "upstream_peak_reserved_bytes": 7_000_000_001,
        "upstream_train_reserved_mean_bytes": 5_000_000_001,
        "upstream_train_reserved_p99_bytes": 6_000_000_001,
        "upstream_train_allocated_mean_bytes": 1000.5,
    }
    assert "evaluation" in record.missing["peak_train_reserved_bytes"]
    assert [(p.step, p.valid_score, p.train_time_s) for p in record.curve] == [(2, 0.5, 2.5), (4, 0.75, 5.0)]


def test_the_image_benchmark_times_only_the_steps_before_its_last_validation() -> None:
    record = read(image_result())
    assert record.spec.task.name == "image-gen"
    assert record.spec.task.options["resolution"] == 512
    assert record.metrics["test_score"] == 0.5
    assert record.metrics["train_time_s"] is None
    assert "4 of 5 steps" in record.missing["train_time_s"]
    assert record.metrics["valid_score"] is None
    assert record.metrics["upstream_step_time_s"] == 1.25
    assert record.metrics["peak_train_reserved_bytes"] == 7_000_000_001  # of training alone in this task
    assert record.metrics["drift"] is None
    assert record.metrics["upstream_drift"] == 0.25


@pytest.mark.parametrize("make", [text_result, image_result])
def test_every_metric_has_a_value_or_a_reason_and_a_spec(make: Any) -> None:
    record = read(make())
    assert set(OURS) <= set(record.metrics)
    assert set(record.missing) == {name for name, value in record.metrics.items() if value is None}
    assert set(record.metrics) <= set(OURS) | set(UPSTREAM_METRICS)
    assert not set(OURS) & set(UPSTREAM_METRICS)


def test_sentinels_and_nan_are_missing_with_a_reason() -> None:
    document = image_result()
    document["train_info"]["file_size"] = 99999999
    document["train_info"]["accelerator_memory_max"] = 0
    document["train_info"]["metrics"][-1]["drift"] = math.nan
    record = read(document)
    assert record.metrics["checkpoint_bytes"] is None
    assert "99999999" in record.missing["checkpoint_bytes"]
    assert record.metrics["peak_train_reserved_bytes"] is None
    assert record.missing["upstream_drift"] == "came out as nan"
    assert json.dumps(record.foreign) == json.dumps(document)


@pytest.mark.parametrize(
    ("told", "message", "status"),
    [
        ("canceled", "manually canceled", "killed"),
        ("canceled", "CUDA out of memory. Tried to allocate 2 GiB", "oom"),
        ("canceled", "index out of range", "error"),
        ("failed", "", "error"),
        (None, "", "error"),
    ],
)
def test_statuses_of_canceled_upstream_runs_are_mapped_by_their_error_message(
    told: str | None, message: str, status: str
) -> None:
    document = text_result(error_msg=message)
    document["train_info"] |= {"status": told, "metrics": []}
    record = read(document)
    assert record.status == record.attempts[0].status == status
    assert record.reason
    assert message in record.reason
    assert record.metrics["test_score"] is None


def test_an_imported_success_needs_a_test_score_and_all_steps() -> None:
    document = text_result()
    document["train_info"]["metrics"].pop()
    assert read(document).status == "error"
    document = text_result()
    document["train_info"]["metrics"][-1]["step"] = 3
    assert any("3 of 4 steps" in warning for warning in read(document).warnings)


def test_conditions_include_data_budget_and_versions_not_method_rate_or_seed() -> None:
    def changed(where: str, **values: Any) -> RunRecord:
        document = text_result()
        place = document
        for part in where.split("."):
            place = place[part]
        place.update(values)
        return read(document)

    config = "run_info.train_config"
    plain = read(text_result())
    for other in (
        changed("run_info", peft_config={"peft_type": "VERA", "r": 4}, experiment_name="vera/x"),
        changed("run_info", peft_config=None),
        changed(config, seed=3),
        changed(config, optimizer_kwargs={"lr": 0.3}),
        changed("meta_info.package_info", **{"peft-commit-hash": "other"}),
    ):
        assert (other.quality_protocol, other.cost_protocol) == (plain.quality_protocol, plain.cost_protocol)
        assert other.run_id != plain.run_id
    for other in (
        changed(config, max_steps=400),
        changed(config, dtype="float32"),
        changed("meta_info.dataset_info", gsm8k={"sha": "new"}),
        changed("meta_info.model_info", sha="new"),
    ):
        assert other.quality_protocol != plain.quality_protocol
        assert other.cost_protocol != plain.cost_protocol
    for other in (
        changed(config, use_gc=True),
        changed("meta_info.package_info", **{"torch-version": "2.10"}),
        changed("meta_info.system_info", accelerator="NVIDIA A10"),
    ):
        assert other.quality_protocol == plain.quality_protocol
        assert other.cost_protocol != plain.cost_protocol


def test_a_curve_point_has_the_learning_rate_of_its_step() -> None:
    import torch
    from transformers import get_cosine_schedule_with_warmup

    document = text_result()
    document["run_info"]["train_config"] |= {"max_steps": 40, "eval_steps": 1}
    point = document["train_info"]["metrics"][0]
    document["train_info"]["metrics"] = [{**point, "step": n} for n in range(1, 41)]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=4, num_training_steps=40)
    rates = []
    for _ in range(40):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert [p.learning_rate for p in read(document).curve] == pytest.approx(rates)


def test_exporting_and_reimporting_preserves_our_own_records(tmp_path: Path) -> None:
    ok = our_record()
    failed_spec = ok.spec.model_copy(update={"seed": 1})
    attempt = Attempt(started_at="?", ended_at="?", status="oom", reason="no room", traceback="Traceback …")
    failed = our_record(
        run_id=failed_spec.run_id, spec=failed_spec, status="oom", reason="no room", attempts=(attempt,),
        method_facts=None, metrics={"test_score": None}, missing={"test_score": "no room"}, curve=(), examples=(),
    )  # fmt: skip
    export_upstream([ok, failed], tmp_path / "out")
    found = read_upstream(tmp_path / "out", NAMES)
    assert sorted(found.records, key=lambda r: r.status) == sorted([ok, failed], key=lambda r: r.status)
    assert store_imported(tmp_path / "study", found.records) == 2
    assert store_imported(tmp_path / "study", found.records) == 0
    assert sorted(read_records(tmp_path / "study"), key=lambda r: r.run_id) == sorted(
        found.records, key=lambda r: r.run_id
    )


def test_an_import_never_replaces_our_own_repeated_run(tmp_path: Path) -> None:
    newer = our_record(metrics={"test_score": 0.9})
    store_imported(tmp_path, [newer])
    assert store_imported(tmp_path, [our_record()]) == 0
    assert read_records(tmp_path) == [newer]


def test_our_export_uses_the_upstream_keys_and_names_other_windows_beside_them() -> None:
    ours, theirs = document_of(our_record()), text_result()
    assert ours.keys() - {"peftscope", "peftscope_windows"} == theirs.keys()
    for part in ("run_info", "train_info", "meta_info"):
        assert ours[part].keys() == theirs[part].keys()
    assert set(theirs["run_info"]["train_config"]) <= set(ours["run_info"]["train_config"])
    assert ours["train_info"]["metrics"][0].keys() == theirs["train_info"]["metrics"][0].keys()
    assert ours["train_info"]["metrics"][-1].keys() == theirs["train_info"]["metrics"][-1].keys()
    assert ours["train_info"]["metrics"][-1]["test accuracy"] == 0.1
    assert ours["train_info"]["file_size"] == 77
    assert ours["train_info"]["accelerator_memory_max"] == 0  # the benchmark's own word for not known
    assert ours["train_info"]["train_time"] == 3.5
    assert "training steps alone" in ours["peftscope_windows"]["train_info.train_time"]
    assert "train_info.accelerator_memory_max" not in ours["peftscope_windows"]
    assert [p["train time"] for p in ours["train_info"]["metrics"][:2]] == pytest.approx([0.7, 0.7])
    assert ours["meta_info"]["package_info"]["peft-version"] == "0.19.0"
    assert "99999999" not in json.dumps(ours)


MEASURED_HERE = {"peak_train_memory_bytes": 7, "peak_eval_memory_bytes": 9, "forgetting": 0.3}
MEASURED_ON_A_CARD = {"peak_train_reserved_bytes": 7, "peak_eval_reserved_bytes": 5, "peak_train_memory_bytes": 3}


@pytest.mark.parametrize(
    ("metrics", "memory"), [({}, (0, 0, 0)), (MEASURED_HERE, (7, 9, 7)), (MEASURED_ON_A_CARD, (7, 7, 7))]
)
@pytest.mark.parametrize("task", ["math", "own-data"])
def test_the_public_benchmarks_own_reader_takes_our_export(
    metrics: dict[str, float], memory: tuple[int, int, int], task: str, tmp_path: Path
) -> None:
    spec = RunSpec(model="m", task={"name": task}, method="lora", learning_rate=1e-4)
    (path,) = export_upstream([our_record(spec=spec, metrics={"test_score": 0.1, **metrics}, curve=())], tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    run, train = document["run_info"], document["train_info"]
    last, packages = train["metrics"][-1], document["meta_info"]["package_info"]
    assert train["status"] == "success"
    assert (
        tuple(int(train[f"accelerator_memory_{name}"]) for name in ("reserved_avg", "max", "reserved_99th")) == memory
    )
    assert [int(train["file_size"]), int(train["num_trainable_params"])] == [0, 0]
    assert [int(last["train samples"]), int(last["train total tokens"])] == [0, 0]
    floats = [run["total_time"], train["train_time"], last["train loss"], last["test accuracy"], last["forgetting"]]
    assert [float(value) for value in floats][3] == 0.1
    names = [f"{name}-version" for name in ("peft", "transformers", "datasets", "torch", "bitsandbytes")]
    texts = [run["train_config"]["model_id"], run["peft_branch"], *(packages[name] for name in names)]
    assert all(isinstance(text, str) and text for text in texts)


def test_a_result_with_a_long_name_can_be_read_again(tmp_path: Path) -> None:
    found = read_upstream(put(tmp_path / "in", a=text_result(experiment_name="lora/" + "x" * 300)), NAMES)
    store_imported(tmp_path / "out", found.records)
    assert read_records(tmp_path / "out") == list(found.records)


def test_no_local_path_is_in_an_export(tmp_path: Path) -> None:
    options = {"train": str(tmp_path / "rows.csv")}
    spec = RunSpec(
        model=str(tmp_path / "base"), task={"name": "own-data", **options}, method="lora", learning_rate=1e-4
    )
    trace = f'File "{tmp_path}/deep/inside.py", line 3, in f'
    attempt = Attempt(started_at="x", ended_at="y", status="error", traceback=trace, environment={})
    record = our_record(
        spec=spec, run_id=spec.run_id, attempts=(attempt,), warnings=(f"{tmp_path}/rows.csv: 3 rows repeat others",)
    )
    (path,) = export_upstream([record], tmp_path / "out")
    text = path.read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert all(name in text for name in ('"base"', '"rows.csv"', "inside.py", "rows.csv: 3 rows repeat"))
    assert "4 | =1+1" in text
    (back,) = read_upstream(tmp_path / "out", NAMES).records
    assert back.run_id == record.run_id


def test_exported_files_use_upstream_names_and_never_overwrite_each_other(tmp_path: Path) -> None:
    one, other = text_result(), text_result(created_at="2026-02-02T00:00:00+00:00")
    third = text_result(experiment_name="lora/other")
    paths = export_upstream([read(d) for d in (one, other, third)], tmp_path)
    assert paths[2].name == "lora--other.json"
    assert {p.name for p in paths[:2]} == {f"lora--llama-rank8--{read(d).run_id}.json" for d in (one, other)}
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_hostile_names_cannot_write_outside_the_export_folder(tmp_path: Path) -> None:
    names = ["../../../evil", "..", "/etc/passwd", "a\\..\\b", "x\x00y\n", "é" * 5000, "", "n" * 5000]
    paths = export_upstream([read(text_result(experiment_name=name)) for name in names], tmp_path / "out")
    assert all(path.resolve().parent == tmp_path / "out" for path in paths)
    assert len(list(tmp_path.rglob("*.json"))) == len(names)
    document = document_of(our_record())
    document["peftscope"]["run_id"] = "../../evil"
    with pytest.raises(SpecError, match="run_id"):
        read(document)


def test_all_invalid_files_are_reported_together_and_nothing_is_written(tmp_path: Path) -> None:
    shapes = text_result(experiment_name=None, peft_config=[1])
    shapes["train_info"]["metrics"] = {"step": 1}
    setting = text_result()
    setting["run_info"]["train_config"] |= {"max_steps": "many", "dtype": "float7"}
    own = document_of(our_record())
    own["peftscope"]["status"] = "great"
    folder = put(
        tmp_path / "in", cut='{"run_info": {', shapes=shapes, setting=setting, own=own, good=text_result(),
        deep='{"run_info": {"train_config": ' + "[" * 100_000, surrogate=json.dumps(text_result(error_msg="\ud800")),
        nested=json.dumps(text_result()).replace('"main"', "[" * 600 + "]" * 600), other=[1, 2],
    )  # fmt: skip
    (folder / "bytes.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(SpecError) as caught:
        read_upstream(folder, NAMES)
    text = str(caught.value)
    for part in (
        "cut.json: not valid JSON", "deep.json", "bytes.json: cannot be read", "surrogate.json", "nested.json",
        "shapes.json: run_info.experiment_name", "shapes.json: run_info.peft_config",
        "shapes.json: train_info.metrics", "max_steps", "dtype", "own.json: peftscope.status",
        "other.json: skipped, not a result",
    ):  # fmt: skip
        assert part in text, part
    assert "good.json" not in text


def test_files_that_are_no_results_are_named_and_left_alone(tmp_path: Path) -> None:
    put(tmp_path / "MetaMathQA" / "results", a=text_result())
    put(tmp_path / "MetaMathQA", default_training_params={"model_id": "m"})
    found = read_upstream(tmp_path, NAMES)
    assert len(found.records) == 1
    assert found.skipped[0].startswith("MetaMathQA/default_training_params.json: skipped, ")
    with pytest.raises(SpecError, match=r"default_training_params\.json"):
        read_upstream(put(tmp_path / "other", default_training_params={}), NAMES)
    with pytest.raises(SpecError, match="no such folder"):
        read_upstream(tmp_path / "nowhere", NAMES)


def test_an_unknown_method_is_imported_under_its_own_name() -> None:
    record = read(text_result(peft_config={"peft_type": "NEXTYEAR"}))
    assert record.spec.method.name == "nextyear"
    assert any("NEXTYEAR" in warning for warning in record.warnings)


def test_reading_changes_no_document() -> None:
    document = text_result()
    before = copy.deepcopy(document)
    read(document)
    assert document == before
