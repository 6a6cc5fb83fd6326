"""Promises of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from peftscope.execution.execute import execute
from peftscope.measures.registry import metric_specs
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.tasks.text.general_text import GeneralText
from tiny import tiny_llama

MakeRun = Callable[..., RunSpec]


def _adapter(folder: Path, record: RunRecord) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapters" / record.run_id / "adapter_model.safetensors")


def test_a_run_records_every_metric_or_why_it_is_missing(make_run: MakeRun, tmp_path: Path) -> None:
    record = execute(make_run(measure={"latency": True}), tmp_path)
    assert record.status == "ok", record.attempts[0].traceback
    assert {name for name, spec in metric_specs("causal-lm").items() if not spec.on_request} <= set(record.metrics)
    missing = {name for name, value in record.metrics.items() if value is None}
    assert missing == {"peak_train_reserved_bytes", "peak_eval_reserved_bytes", "unreachable_share"}
    assert set(record.missing) == missing
    assert 0.0 < record.metrics["init_time_s"] < record.metrics["total_time_s"]
    assert len(record.examples) == 6
    assert record.metrics["test_score"] == sum(e.score for e in record.examples) / 6
    assert record.method_facts is not None
    assert "model.layers.0.self_attn.q_proj" in record.method_facts.adapted_modules
    assert not any("lm_head" in name for name in record.method_facts.adapted_modules)
    assert RunRecord.model_validate_json(record.model_dump_json(by_alias=True)) == record


def test_the_base_is_scored_untrained_and_has_nothing_to_forget(make_run: MakeRun, tmp_path: Path) -> None:
    record = execute(make_run("base", rate=None), tmp_path)
    assert record.status == "ok", record.attempts[0].traceback
    assert record.metrics["forgetting"] == pytest.approx(0.0, abs=1e-6)
    assert record.metrics["num_trainable_params"] == 0
    assert record.metrics["train_time_s"] is None
    assert record.missing["train_time_s"] == "the base is not trained"


def test_equal_seeds_repeat_exactly_and_different_seeds_change_the_run(make_run: MakeRun, tmp_path: Path) -> None:
    records, weights = [], []
    for index, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(index)
        records.append(execute(make_run(seed=seed), folder))
        weights.append(_adapter(folder, records[-1]))
    losses = [[p.train_loss for p in record.curve] for record in records]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


@pytest.mark.parametrize("method", ["full", "pissa", "osf", "prompt-tuning", "prefix-tuning"])
def test_the_forgetting_baseline_is_that_of_the_untouched_model(
    method: str, make_run: MakeRun, tmp_path: Path, sums_file: Path
) -> None:
    record = execute(make_run(method, rate=1e-2), tmp_path)
    assert record.status == "ok", record.attempts[0].traceback
    (path,) = (tmp_path / "cache").glob("baseline-*.safetensors")
    from tiny import tiny_tokenizer

    general = GeneralText(tiny_tokenizer(), source=str(sums_file.with_name("general.txt")), num_tokens=200)
    expected = general.baseline(tiny_llama())
    for name, tensor in load_file(path).items():
        torch.testing.assert_close(tensor, expected[name])
    loss = float(expected["losses"].mean())
    assert record.metrics["forgetting"] == pytest.approx(record.metrics["general_loss"] - loss, abs=1e-5)
    assert record.metrics["drift"] > 0


def test_scoring_batch_size_does_not_affect_the_peak_training_memory(make_run: MakeRun, tmp_path: Path) -> None:
    small = execute(make_run(task={"eval_batch_size": 1}), tmp_path)
    large = execute(make_run(task={"eval_batch_size": 6}), tmp_path)
    name = "peak_train_memory_bytes"
    assert large.metrics[name] == pytest.approx(small.metrics[name], rel=0.02)
    assert large.metrics["peak_eval_memory_bytes"] > 1.05 * small.metrics["peak_eval_memory_bytes"]


def test_validation_does_not_affect_the_sampled_training_memory(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peftscope.execution.execute as module

    scored = module.score_split

    def hungry(*arguments: Any) -> Any:
        block = torch.ones(100_000_000)  # 400 MB
        outcomes = scored(*arguments)
        del block
        return outcomes

    monkeypatch.setattr(module, "score_split", hungry)
    record = execute(make_run(train={"max_steps": 4, "eval_every": 1}), tmp_path)
    assert record.status == "ok", record.attempts[0].traceback
    rise = record.metrics["sampled_train_memory_bytes"] - record.metrics["sampled_eval_memory_bytes"]
    assert rise < 200e6


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "method", ["eva", "corda", "lora-ga", "adalora", "kasa", "monteclora", "adamss-asa", "shadow", "lora-plus"]
)
def test_methods_that_need_more_than_a_config_run_end_to_end(method: str, make_run: MakeRun, tmp_path: Path) -> None:
    knobs = {"r": 4} if method in ("eva", "corda", "lora-ga", "kasa", "monteclora") else {}
    run = make_run({"name": method, "knobs": knobs}, train={"max_steps": 2, "accumulation": 2})
    record = execute(run, tmp_path)
    assert record.status == "ok", record.attempts[0].traceback
    assert record.metrics["peak_train_memory_bytes"] is not None, record.missing


def test_metering_changes_no_weight(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import peftscope.measures.memory as module

    metered, seen = module.metered_training_bytes, []

    def watched(trained: Any) -> int:
        before = {n: p.detach().clone() for n, p in trained.built.model.named_parameters()}
        found = metered(trained)
        seen.append(all(torch.equal(before[n], p) for n, p in trained.built.model.named_parameters()))
        return found

    monkeypatch.setattr(module, "metered_training_bytes", watched)
    execute(make_run(), tmp_path)
    assert seen == [True]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", ["lora", "adalora", "lora-fa", "lora-plus", "prompt-tuning", "full"])
def test_the_trainings_own_optimizer_is_metered_as_a_new_one_would_be(
    method: str, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import peftscope.measures.memory as module

    metered, found = module.metered_training_bytes, []

    def both(trained: Any) -> int:
        assert trained.optimizer is not None
        found.append((metered(trained), metered(replace(trained, optimizer=None))))
        return found[0][0]

    monkeypatch.setattr(module, "metered_training_bytes", both)
    execute(make_run(method, measure={"metered_steps": 2}), tmp_path)
    ((own, new),) = found
    assert own == pytest.approx(new, rel=1e-4)


def test_a_failed_side_measurement_loses_its_metric_but_not_the_run(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> float:
        raise RuntimeError("no clock")

    monkeypatch.setattr("peftscope.models.kinds.causal_lm.kind.decode_latency", broken)
    record = execute(make_run(measure={"latency": True}), tmp_path)
    assert record.status == "ok"
    assert record.missing["decode_latency_adapter_b1_s"] == "RuntimeError: no clock"
    assert any("no clock" in warning for warning in record.warnings)


def test_a_longer_batch_raises_the_peak_memory_of_training(make_run: MakeRun, tmp_path: Path) -> None:
    small = execute(make_run(train={"batch_size": 1}), tmp_path)
    large = execute(make_run(train={"batch_size": 8}), tmp_path)
    assert large.metrics["peak_train_memory_bytes"] > 1.2 * small.metrics["peak_train_memory_bytes"]


@pytest.mark.parametrize(
    ("method", "status", "part"),
    [
        ("xlora", "refused", "adapter"),
        ({"name": "lora", "targets": ["nowhere"]}, "refused", "nowhere"),
        ({"name": "boft", "knobs": {"boft_block_size": 7}}, "refused", "boft"),
    ],
)
def test_unsupported_or_failing_methods_are_recorded_with_status_and_reason(
    method: Any, status: str, part: str, make_run: MakeRun, tmp_path: Path
) -> None:
    record = execute(make_run(method), tmp_path)
    assert record.status == status, record.attempts[0].traceback
    assert part in (record.reason or "").lower()
    assert record.metrics["test_score"] is None
    assert record.missing["test_score"] == record.reason


@pytest.mark.filterwarnings("ignore::UserWarning")  # bitsandbytes says on the CPU that it casts
@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_quantized_bases_train_with_supporting_methods_and_are_refused_otherwise(
    kind: str, make_run: MakeRun, tmp_path: Path
) -> None:
    def quantized(method: str) -> RunSpec:
        run = make_run(method, measure={"latency": True})
        return run.model_copy(update={"model": run.model.model_copy(update={"quantization": kind})})

    record = execute(quantized("lora"), tmp_path)
    assert record.status == "ok", record.attempts[0].traceback
    assert kind in record.missing["decode_latency_merged_b1_s"]
    plain = execute(make_run("lora"), tmp_path)
    assert record.metrics["base_memory_bytes"] < plain.metrics["base_memory_bytes"]
    refused = execute(quantized("pissa"), tmp_path)
    assert refused.status == "refused"
    assert kind in (refused.reason or "")


def _plain_and_saving(make_run: MakeRun, folder: Path, train: dict[str, Any]) -> tuple[RunRecord, RunRecord]:
    """Records of a run as it is and with a setting, which saves memory and changes no loss."""
    plain = execute(make_run(), folder / "plain")
    saving = execute(make_run(train=train), folder / "saving")
    assert saving.status == "ok", saving.attempts[0].traceback
    for before, after in zip(plain.curve, saving.curve, strict=True):
        assert after.train_loss == pytest.approx(before.train_loss, rel=1e-5)
    name = "peak_train_memory_bytes"
    assert saving.metrics[name] < plain.metrics[name]
    return plain, saving


def test_checkpointing_saves_memory_and_changes_no_loss(make_run: MakeRun, tmp_path: Path) -> None:
    _plain_and_saving(make_run, tmp_path, {"checkpointing": True})
    refused = execute(make_run("prefix-tuning", train={"checkpointing": True}), tmp_path / "prefix")
    assert refused.status == "refused"
    assert "checkpointing" in (refused.reason or "")


@pytest.mark.parametrize("memory", ["fast", "lean", "minimal"])
def test_a_memory_setting_saves_memory_and_changes_no_loss(make_run: MakeRun, tmp_path: Path, memory: str) -> None:
    plain, saving = _plain_and_saving(make_run, tmp_path, {"memory": memory})
    assert plain.quality_protocol == saving.quality_protocol
    assert plain.cost_protocol != saving.cost_protocol
    assert not any("train.memory" in line for line in saving.warnings)


def test_a_memory_setting_that_a_method_cannot_meet_is_told_in_the_record(make_run: MakeRun, tmp_path: Path) -> None:
    record = execute(make_run("shadow", train={"memory": "fast", "max_steps": 2}), tmp_path)
    assert record.status == "ok", record.attempts[0].traceback
    assert any("train.memory: fast: the loss holds all outputs" in line for line in record.warnings)


def test_a_diverged_run_preserves_its_curve_and_metrics(make_run: MakeRun, tmp_path: Path) -> None:
    record = execute(make_run("full", rate=1e30, train={"max_steps": 12, "grad_norm_clip": None}), tmp_path)
    assert record.status == "diverged", record.attempts[0].traceback
    assert record.curve
    assert record.metrics["num_steps"] == len(record.curve)
    assert record.metrics["num_trainable_params"] > 0
    assert record.attempts[0].traceback


def test_our_own_defects_are_recorded_as_errors(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("peftscope.execution.measure.Measurements.take_of_result", broken)
    record = execute(make_run(), tmp_path)
    assert record.status == "error"
    assert record.reason == "ZeroDivisionError: ours"
    assert "ZeroDivisionError" in (record.attempts[0].traceback or "")
    assert record.metrics["train_time_s"] is not None


def test_the_loops_overhead_over_bare_steps_is_bounded(make_run: MakeRun, tmp_path: Path) -> None:
    """With an adapter of almost no work, the loop may not cost more than half as much again as its steps."""
    import time

    from peftscope.schema.study import TrainSpec
    from peftscope.training.loop import Fit
    from peftscope.training.result import FitResult
    from tasks.toy import RegressionTask

    task = RegressionTask()
    task.batch_size = 18
    model = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(60)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def bare(steps: int) -> float:
        batches, started = task.batches(0), time.perf_counter()
        for _ in range(steps):
            loss, count = task.loss(model, next(batches))
            (loss / count).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - started

    bare(20)
    ratios = []
    for _ in range(3):  # the best of three: other processes may be about
        reference, result = bare(60), FitResult()
        Fit(model, task, TrainSpec(max_steps=60), optimizer=optimizer, seed=0, result=result).run()
        ratios.append(result.train_time_s / reference)
    assert min(ratios) < 1.5


def test_a_trial_sees_and_records_nothing_of_the_test_split(make_run: Callable[..., RunSpec], tmp_path: Path) -> None:
    run = make_run("lora", train={"max_steps": 4}).model_copy(update={"purpose": "trial", "rungs": (2,)})
    paused = execute(run, tmp_path, until=2)
    assert (paused.status, paused.metrics["num_steps"]) == ("eliminated", 2)
    assert [point.valid_loss is not None for point in paused.curve] == [False, True]
    whole = execute(run, tmp_path)
    assert whole.status == "ok", whole.reason
    assert whole.metrics["num_steps"] == 4
    assert whole.metrics["valid_score"] is not None
    assert whole.metrics["valid_loss"] is not None
    assert all(example.output is None for example in whole.examples)
    assert len(whole.examples) == 4, "those of the validation split, to tell noise by"
    assert whole.method_facts is not None
    assert whole.method_facts.learning_rate_source == "tried by tuning"
    of_test = ("test_score", "test_loss", "eval_time_s", "forgetting", "checkpoint_bytes")
    assert {name: whole.metrics.get(name) for name in of_test} == dict.fromkeys(of_test)
    assert not list((tmp_path / "adapters").glob("*"))


def test_reading_the_test_split_before_the_configuration_is_frozen_raises(
    make_run: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever part of a trial asks for it; here, what measures it is made to score the test split."""
    from peftscope.execution.measure import Measurements

    run = make_run("lora", train={"max_steps": 2}).model_copy(update={"purpose": "trial"})

    def scores_the_test_split(self: Measurements, trained: Any, stage: Any) -> None:
        trained.task.score(trained.built.model, trained.predictor, "test")

    monkeypatch.setattr(Measurements, "take_of_trial", scores_the_test_split)
    record = execute(run, tmp_path)
    assert record.status == "error"
    assert "before its method's configuration is frozen" in (record.reason or "")
