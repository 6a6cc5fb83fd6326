"""A forecast says what fits, and what would make the rest fit."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig

from peftscope.execution.executors.forking import warm_up
from peftscope.footprint.estimate import FootprintEstimator, footprint
from peftscope.footprint.forecast import _begin, forecasts, forecasts_as_counted
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.models.kinds.causal_lm.profile import CausalLMProfile
from peftscope.schema.study import MemorySetting, MethodSpec

CONFIG = LlamaConfig(
    hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=4000, tie_word_embeddings=True,
)  # fmt: skip
SUBJECT = CausalLMProfile(config=CONFIG, dtype=torch.float32)
LOAD = Workload(batch_size=8, length=256)
LORA = FootprintQuery(method=MethodSpec(name="lora"), profile=SUBJECT, workload=LOAD)


def _peak(batch_size: int) -> int:
    found = footprint(replace(LORA, workload=Workload(batch_size=batch_size, length=256, scoring=False)))
    assert found.peak_train_bytes is not None
    return found.peak_train_bytes


def test_a_peak_within_the_memory_limit_fits() -> None:
    [found] = forecasts([LORA], limit=_peak(8))
    assert found.fits
    assert found.largest_batch is None


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    limit = (_peak(3) + _peak(4)) // 2
    assert _peak(3) <= limit < _peak(4)
    [found] = forecasts([LORA], limit=limit)
    assert found.fits is False
    assert found.largest_batch == 3


def test_the_length_that_is_named_fits_and_is_not_far_below_the_largest() -> None:
    def peak(length: int) -> int:
        found = footprint(replace(LORA, workload=Workload(batch_size=8, length=length, scoring=False)))
        assert found.peak_train_bytes is not None
        return found.peak_train_bytes

    limit = (peak(128) + peak(136)) // 2
    [found] = forecasts([replace(LORA, workload=replace(LOAD, scoring=False))], limit=limit)
    assert found.largest_length is not None
    assert 112 <= found.largest_length <= 128


def test_what_cannot_help_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit, a plan took four times as long as without."""
    counted: list[tuple[int, int]] = []
    real = FootprintEstimator.training

    def counting(self: FootprintEstimator, batch_size: int, length: int) -> object:
        counted.append((batch_size, length))
        return real(self, batch_size, length)

    monkeypatch.setattr(FootprintEstimator, "training", counting)
    list(forecasts([LORA], limit=1_000))
    assert len(counted) <= 4, "the method, with checkpointing, and both; no batch fits where the weights do not"
    counted.clear()
    list(forecasts([LORA], limit=(_peak(3) + _peak(4)) // 2))
    assert len(counted) <= 10, "two of them for the limit"


def test_if_no_sample_fits_the_largest_batch_is_zero() -> None:
    [found] = forecasts([LORA], limit=1_000)
    assert found.largest_batch == 0


def test_the_peak_with_checkpointing_is_reported_if_memory_is_insufficient() -> None:
    train = LOAD.train.model_copy(update={"checkpointing": True})
    [found] = forecasts([LORA], limit=1_000)
    checkpointing = replace(LORA, workload=replace(LOAD, train=train))
    assert found.checkpointed_bytes == footprint(checkpointing).peak_train_bytes
    assert found.checkpointed_bytes < _peak(8)


def _with_setting(memory: MemorySetting) -> int:
    train = LOAD.train.model_copy(update={"memory": memory})
    peak = footprint(replace(LORA, workload=replace(LOAD, train=train))).peak_bytes
    assert peak is not None
    return peak


def test_the_fastest_memory_setting_that_fits_is_named() -> None:
    peaks = {memory: _with_setting(memory) for memory in ("plain", "fast", "lean", "minimal")}
    assert sorted(peaks.values(), reverse=True) == list(peaks.values())
    for memory in ("fast", "lean", "minimal"):
        [found] = forecasts([LORA], limit=peaks[memory])
        assert (found.fits, found.fits_with) == (False, memory)
        assert found.memory_bytes.items() <= peaks.items()
        assert found.nf4_bytes is None, "packing costs quality, the settings do not"
    [found] = forecasts([LORA], limit=peaks["minimal"] - 1)
    assert found.fits_with is None
    lean = replace(LORA, workload=replace(LOAD, train=LOAD.train.model_copy(update={"memory": "lean"})))
    [found] = forecasts([lean], limit=peaks["minimal"])
    assert (found.fits_with, set(found.memory_bytes)) == ("minimal", {"minimal"})


def test_without_a_memory_limit_no_verdict_on_fitting_is_given() -> None:
    [found] = forecasts([LORA])
    assert found.fits is None


@pytest.mark.parametrize("workers", [1, 2])
def test_forecasts_follow_the_requested_order_for_any_number_of_processes(workers: int) -> None:
    asked = [replace(LORA, method=MethodSpec(name=name)) for name in ("ia3", "lora", "oft", "boft", "shira", "waveft")]
    found = [f.footprint for f in forecasts(asked, workers=workers, context=warm_up())]
    assert [f.method for f in found] == ["ia3", "lora", "oft", "boft", "shira", "waveft"]
    assert [f.reason for f in found] == [None] * 6
    alone = [footprint(query) for query in asked]
    assert [f.breakdown for f in found] == [f.breakdown for f in alone]


def test_every_alternative_is_counted_where_it_is_asked_for_and_equals_the_peak_of_its_own() -> None:
    pytest.importorskip("bitsandbytes", reason="the extra quantized is not installed")
    train = LOAD.train.model_copy(update={"checkpointing": True})
    packed = SUBJECT.quantized("nf4")
    assert packed is not None
    checkpointing = replace(LORA, workload=replace(LOAD, train=train))
    expected = [
        footprint(query).peak_bytes
        for query in (checkpointing, replace(LORA, profile=packed), replace(checkpointing, profile=packed))
    ]
    for limit in (None, 10**12, 1_000):
        [(_, found)] = forecasts_as_counted([LORA], limit=limit, alternatives="all")
        assert [found.checkpointed_bytes, found.nf4_bytes, found.both_bytes] == expected
        assert found.fits is (None if limit is None else limit > 1_000)
        assert found.largest_batch == (0 if limit == 1_000 else None)


def test_forecasts_come_as_they_are_counted_with_the_number_of_their_question() -> None:
    asked = [replace(LORA, method=MethodSpec(name=name)) for name in ("boft", "ia3", "lora", "shira")]
    found = dict(forecasts_as_counted(asked, workers=2, context=warm_up()))
    assert [found[number].footprint.method for number in range(4)] == ["boft", "ia3", "lora", "shira"]


def test_closing_the_forecasts_early_leaves_no_process_behind() -> None:
    before = set(multiprocessing.active_children())
    answers = forecasts([LORA] * 6, workers=2, context=warm_up())
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert set(multiprocessing.active_children()) <= before


def test_forecast_processes_are_not_forked_and_see_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has begun to use CUDA cannot be forked: every count ended in an initialization error on an H100."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("peftscope.footprint.forecast.estimated", _no_footprint)
    found = [f.footprint for f in forecasts([LORA] * 2, workers=2, context=warm_up())]
    assert [f.reason for f in found] == [None, None]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    context = warm_up()
    with ProcessPoolExecutor(1, mp_context=context, initializer=_begin) as pool:
        assert pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == ""
        assert pool.submit(torch.cuda.device_count).result() == 0


def _no_footprint(query: FootprintQuery) -> None:
    raise AssertionError("a fork of the asking process counts")
