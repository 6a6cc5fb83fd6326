"""A few blocks stand for all where blocks repeat, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import Gemma3Config, Gemma3TextConfig, LlamaConfig

from peftscope.footprint.estimate import footprint
from peftscope.footprint.footprint import Footprint
from peftscope.footprint.layers import depths_of
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.models.kinds.causal_lm.profile import CausalLMProfile
from peftscope.schema.study import MethodSpec, TrainSpec

SIZES: dict[str, Any] = {
    "hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 32_000, "head_dim": 64,
}  # fmt: skip
LLAMA = CausalLMProfile(config=LlamaConfig(num_hidden_layers=15, **SIZES), dtype=torch.bfloat16)
LOAD = Workload(batch_size=2, length=512, eval_batch_size=6, eval_length=400)


def _both(method: MethodSpec, profile: CausalLMProfile = LLAMA, load: Workload = LOAD) -> tuple[Footprint, Footprint]:
    asked = FootprintQuery(method=method, profile=profile, workload=load)
    return footprint(asked), footprint(replace(asked, workload=replace(load, every_layer=True)))


def _same_scoring(few: Footprint, all_of_them: Footprint) -> None:
    """The same storages; the allocator may lay the adapter's out in another order."""
    assert few.eval_breakdown is not None
    assert all_of_them.eval_breakdown is not None
    assert replace(few.eval_breakdown, allocator=0) == replace(all_of_them.eval_breakdown, allocator=0)
    assert few.peak_eval_bytes == pytest.approx(all_of_them.peak_eval_bytes, rel=0.005)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["lora", "adalora", "dora", "vera", "vblora", "tinylora", "oft", "prefix-tuning", "prompt-tuning", "ia3", "full"],
)
def test_counts_extrapolated_from_few_blocks_match_the_full_model(name: str) -> None:
    few, all_of_them = _both(MethodSpec(name=name))
    assert few.reason is None
    for figure in ("num_trainable_params", "num_total_params", "checkpoint_bytes", "checkpoint_least_bytes"):
        assert getattr(few, figure) == getattr(all_of_them, figure)
    assert few.live_train_bytes == all_of_them.live_train_bytes
    assert few.flops_per_step == all_of_them.flops_per_step
    _same_scoring(few, all_of_them)
    assert few.peak_train_bytes == pytest.approx(all_of_them.peak_train_bytes, rel=0.02)
    assert few.breakdown is not None
    assert few.breakdown.total() == few.peak_train_bytes
    assert all_of_them.layers_counted is None
    if name != "full":
        assert few.layers_counted == (7, 11)


def test_extrapolation_from_few_blocks_also_covers_checkpointing() -> None:
    load = replace(LOAD, train=TrainSpec(checkpointing=True), target="cpu")
    few, all_of_them = _both(MethodSpec(name="lora"), load=load)
    assert few.peak_train_bytes == all_of_them.peak_train_bytes


def test_scoring_on_a_cpu_counts_packed_copies_of_linear_weights() -> None:
    sizes = {**SIZES, "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "vocab_size": 1000}
    profile = CausalLMProfile(config=LlamaConfig(num_hidden_layers=15, **sizes), dtype=torch.float32)
    few, all_of_them = _both(MethodSpec(name="full"), profile, replace(LOAD, target="cpu"))
    _same_scoring(few, all_of_them)
    elsewhere = footprint(FootprintQuery(method=MethodSpec(name="full"), profile=profile, workload=LOAD))
    assert few.eval_breakdown is not None
    assert elsewhere.eval_breakdown is not None
    weights = sum(layer.weight.numel() * 4 for layer in profile.base().modules() if isinstance(layer, torch.nn.Linear))
    copies = few.eval_breakdown.activations - elsewhere.eval_breakdown.activations
    assert copies == pytest.approx(weights, rel=0.15)


@pytest.mark.parametrize(
    "knobs",
    [{"layers_to_transform": [0, 13]}, {"rank_pattern": {"layers.2.self_attn.q_proj": 4}}],
)
def test_a_method_that_names_blocks_is_counted_on_all_blocks(knobs: dict[str, Any]) -> None:
    few, all_of_them = _both(MethodSpec(name="lora", knobs=knobs))
    assert few == all_of_them
    assert few.reason is None


def test_alternating_block_types_preserve_their_order() -> None:
    config = Gemma3TextConfig(num_hidden_layers=62, sliding_window=16, sliding_window_pattern=3, **SIZES)
    gemma = CausalLMProfile(config=config, dtype=torch.float32)
    assert gemma.period in (3, 6)
    depths = depths_of(gemma)
    assert depths is not None
    assert (depths.whole - depths.less) % gemma.period == 0
    assert gemma.with_layers(depths.less).config.layer_types == config.layer_types[: depths.less]
    few, all_of_them = _both(MethodSpec(name="lora"), gemma)
    assert few.layers_counted is not None
    assert few.live_train_bytes == all_of_them.live_train_bytes
    _same_scoring(few, all_of_them)


def test_blocks_that_do_not_repeat_and_few_blocks_are_all_counted() -> None:
    assert depths_of(replace(LLAMA, config=LlamaConfig(num_hidden_layers=8, **SIZES))) is None
    kinds = ["full_attention"] * 9 + ["sliding_attention"] * 11
    config = Gemma3TextConfig(num_hidden_layers=20, layer_types=kinds, **SIZES)
    assert depths_of(CausalLMProfile(config=config, dtype=torch.float32)) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora", "ia3"])
def test_names_written_in_full_by_the_policy_pick_no_blocks(name: str) -> None:
    """Where a tower has layers of the same names, the policy writes those of the language model in full."""
    text = {"hidden_size": 64, "num_hidden_layers": 48, "intermediate_size": 128, "num_attention_heads": 4}
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config={**text, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 1280, "sliding_window": 16},
        vision_config={**vision, "image_size": 28, "patch_size": 14, "vision_use_head": False},
        mm_tokens_per_image=1,
    )
    profile = CausalLMProfile(config=config, dtype=torch.bfloat16)
    few, all_of_them = _both(MethodSpec(name=name), profile)
    assert few.reason is None
    assert few.layers_counted is not None
    for figure in ("num_trainable_params", "num_total_params", "checkpoint_bytes", "flops_per_step"):
        assert getattr(few, figure) == getattr(all_of_them, figure)
    assert few.live_train_bytes == all_of_them.live_train_bytes
