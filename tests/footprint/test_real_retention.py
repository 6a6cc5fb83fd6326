"""What is counted of reading general text is what reading it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig

from peftscope.footprint.counter import LEARNING_RATE, MAX_STEPS
from peftscope.footprint.estimate import footprint
from peftscope.footprint.forecast import forecasts
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods.build import BuildContext, build
from peftscope.models.kinds.causal_lm.profile import CausalLMProfile
from peftscope.schema.study import MethodSpec, TrainSpec
from peftscope.tasks.base import Retention
from peftscope.tasks.text.general_text import GeneralText

SIZES = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 4000,
}  # fmt: skip
SUBJECTS = {
    "float32": CausalLMProfile(config=LlamaConfig(**SIZES), dtype=torch.float32),
    "wide, bfloat16": CausalLMProfile(config=LlamaConfig(**{**SIZES, "hidden_size": 512}), dtype=torch.bfloat16),
    "soft cap": CausalLMProfile(
        config=Gemma2Config(**SIZES, head_dim=16, final_logit_softcapping=30.0), dtype=torch.float32
    ),
}
LENGTHS = (180, 170, 160, 150, 140, 60, 40, 30, 20, 10)
TEXT = GeneralText(None, source="", num_tokens=950, documents=[torch.arange(length) for length in LENGTHS])
SHORT = Workload(batch_size=1, length=16, train=TrainSpec(memory="minimal"), retention=TEXT)


def _query(name: str, subject: CausalLMProfile = SUBJECTS["float32"]) -> FootprintQuery:
    return FootprintQuery(method=MethodSpec(name=name), profile=subject, workload=SHORT)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
@pytest.mark.parametrize(("name", "tolerance"), [("lora", 0.03), ("oft", 0.03), ("prompt-tuning", 0.08)])
def test_counted_storage_of_reading_general_text_is_that_of_a_real_reading(
    name: str, tolerance: float, subject: CausalLMProfile
) -> None:
    """Of prompt tuning more is counted: as if the base had been read with its virtual tokens, too."""
    found = footprint(_query(name, subject))
    assert found.eval_breakdown is not None, found.reason
    live = found.eval_breakdown.total() - found.eval_breakdown.allocator
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(subject.config, dtype=subject.dtype).eval()
    with LiveStorage(tensors_of(base)) as before:
        baseline = TEXT.baseline(base)
    context = BuildContext(seed=0, max_steps=MAX_STEPS, learning_rate=LEARNING_RATE, warn=lambda line: None)
    built = build(base, MethodSpec(name=name), replace(context, task_type="CAUSAL_LM"))
    with LiveStorage([*tensors_of(built.model), *baseline.values()]) as after:
        TEXT.compare(built.model, baseline)
    on_host = sum(value.nbytes for key, value in baseline.items() if not key.startswith("head"))
    assert live == pytest.approx(max(before.peak_bytes, after.peak_bytes - on_host), rel=tolerance)


@pytest.mark.filterwarnings("ignore")
def test_reading_general_text_can_take_more_than_training_and_scoring() -> None:
    without = footprint(replace(_query("lora"), workload=replace(SHORT, retention=None)))
    found = footprint(_query("lora"))
    assert without.peak_retention_bytes is None
    assert without.peak_bytes is not None
    assert found.peak_retention_bytes == found.peak_eval_bytes == found.peak_bytes
    assert found.peak_retention_bytes is not None
    assert found.peak_retention_bytes > 1.5 * without.peak_bytes
    [forecast] = forecasts([_query("lora")], limit=without.peak_bytes)
    assert forecast.fits is False


@pytest.mark.filterwarnings("ignore")
def test_what_is_measured_as_scoring_is_has_no_peak_of_its_own() -> None:
    class Drawn(GeneralText):
        rehearse = Retention.rehearse

    text = Drawn(None, source="", num_tokens=9, documents=[torch.arange(10)])
    found = footprint(replace(_query("lora"), workload=replace(SHORT, retention=text)))
    assert found.reason is None
    assert found.peak_retention_bytes is None
