"""The one policy, its exceptions, and what was really adapted."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from peftscope.errors import MethodRefused, SpecError
from peftscope.methods import targets
from peftscope.methods.build import build
from peftscope.schema.study import MethodSpec

Make = Callable[..., Any]
LLAMA = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


@pytest.fixture
def gpt2() -> GPT2LMHeadModel:
    settings = GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1)
    return GPT2LMHeadModel(settings)


def test_default_targets_are_all_linear_block_layers_without_the_head(make_base: Make, gpt2: GPT2LMHeadModel) -> None:
    assert targets.linear_targets(make_base()) == LLAMA
    assert targets.linear_targets(gpt2) == ["c_attn", "c_fc", "c_proj"]


def test_ambiguous_layer_names_are_written_in_full() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.ModuleDict({"proj": nn.Linear(2, 2)}) for _ in range(2)])
            self.proj = nn.Linear(2, 2)

    assert targets.linear_targets(Net()) == ["layers.0.proj", "layers.1.proj"]


def test_a_trailing_index_stays_with_the_preceding_name() -> None:
    blocks = nn.ModuleList([nn.ModuleDict({"to_out": nn.ModuleList([nn.Linear(2, 2), nn.Dropout()])})])
    assert targets.linear_targets(nn.ModuleDict({"blocks": blocks})) == ["to_out.0"]


def test_a_model_without_linear_layers_is_refused() -> None:
    with pytest.raises(MethodRefused, match="no linear layer"):
        targets.linear_targets(nn.Conv2d(1, 1, 1))


def test_every_method_with_default_targets_adapts_the_same_modules(make_base: Make, context: Make) -> None:
    attention = {"q_proj", "k_proj", "v_proj", "o_proj"}
    parts = [f"self_attn.{name}" if name in attention else f"mlp.{name}" for name in LLAMA]
    named = {f"model.layers.{layer}.{part}" for layer in range(2) for part in parts}
    for name in ("lora", "oft", "ia3", "vera", "road", "adalora", "fourierft"):
        knobs = {"init_r": 6, "target_r": 4} if name == "adalora" else {}
        assert set(build(make_base(), MethodSpec(name=name, knobs=knobs), context()).adapted_modules) == named


def test_ia3_scales_the_input_of_the_last_feed_forward_layer(
    make_base: Make, gpt2: GPT2LMHeadModel, context: Make
) -> None:
    built = build(make_base(), MethodSpec(name="ia3"), context())
    assert built.peft_config is not None
    assert built.peft_config["feedforward_modules"] == ["down_proj"]
    everything, feedforward = targets.feedforward_targets(gpt2, ["c_attn", "c_proj"])
    assert feedforward == ["transformer.h.0.mlp.c_proj", "transformer.h.1.mlp.c_proj"]
    assert "transformer.h.0.attn.c_proj" in everything
    assert "transformer.h.0.attn.c_proj" not in feedforward


def test_norms_and_embeddings_are_found(make_base: Make, gpt2: GPT2LMHeadModel) -> None:
    assert targets.norm_targets(make_base()) == ["input_layernorm", "norm", "post_attention_layernorm"]
    assert targets.norm_targets(gpt2) == ["ln_1", "ln_2", "ln_f"]
    assert targets.embedding_targets(make_base()) == ["embed_tokens"]
    assert targets.embedding_targets(gpt2) == ["wte"]


@pytest.mark.parametrize(
    ("wish", "adapted"),
    [
        (("v_proj",), ("model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.v_proj")),
        (r".*\.1\.mlp\.up_proj", ("model.layers.1.mlp.up_proj",)),
    ],
)
def test_configured_targets_are_used_and_the_adapted_modules_reported(
    wish: Any, adapted: tuple[str, ...], make_base: Make, context: Make
) -> None:
    for name in ("lora", "ia3"):
        assert build(make_base(), MethodSpec(name=name, targets=wish), context()).adapted_modules == adapted


def test_targets_that_match_nothing_are_refused(make_base: Make, context: Make) -> None:
    with pytest.raises(MethodRefused, match="unknown module of this model"):
        build(make_base(), MethodSpec(name="lora", targets=("nope",)), context())


def test_setting_targets_for_a_method_without_targets_is_an_error(make_base: Make, context: Make) -> None:
    with pytest.raises(SpecError, match="no target modules"):
        build(make_base(), MethodSpec(name="prompt-tuning", targets=("q_proj",)), context())


def test_block_diagonal_sides_are_derived_from_layer_names(make_base: Make, context: Make) -> None:
    built = build(make_base(), MethodSpec(name="bd-lora"), context())
    assert built.peft_config is not None
    sides = built.peft_config["use_bdlora"]
    assert sides["target_modules_bd_a"] == ["down_proj", "o_proj"]
    assert sides["target_modules_bd_b"] == ["gate_proj", "k_proj", "q_proj", "up_proj", "v_proj"]
    up: Any = built.model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
    assert up.lora_B["default"].weight.shape == torch.Size([128, 16])
