"""Every sort of weight: attention as Conv1D, embeddings, convolutions, fused experts, whatever the method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM

from peftscope.convert.changes import Change, changes
from peftscope.convert.conversion import convert_layers, lora_weights
from peftscope.errors import MethodRefused
from peftscope.methods.catalog import card
from peftscope.methods.plain_lora import attach_plain_lora, cut_plain_lora

IDS = torch.arange(20).view(2, 10)


class Convolutions(nn.Module):
    """Two convolutions, one of them of shape 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 4, 1)

    def forward(self, input_ids: Tensor) -> Tensor:
        outputs: Tensor = self.second(self.first(input_ids))
        return outputs


def _gpt2() -> nn.Module:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=64, n_positions=32)).eval()


def _mixtral() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 4}
    return MixtralForCausalLM(MixtralConfig(**sizes, **heads)).eval()


def _convolutions() -> nn.Module:
    torch.manual_seed(0)
    return Convolutions().eval()


def _disturbed(model: Any) -> Any:
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    found = model(input_ids=inputs)
    outputs: Tensor = found if isinstance(found, Tensor) else found.logits
    return outputs


PICTURES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(2))
CASES: dict[str, tuple[Callable[[], nn.Module], Any, str, Tensor, str | None]] = {
    "conv1d": (_gpt2, LoraConfig(target_modules=["c_attn", "c_proj"], fan_in_fan_out=True), "lora", IDS, "CAUSAL_LM"),
    "embedding": (_gpt2, LoraConfig(target_modules=["wte"]), "lora", IDS, "CAUSAL_LM"),
    "convolutions": (_convolutions, LoHaConfig(r=2, target_modules=["first", "second"]), "loha", PICTURES, None),
    "experts": (
        _mixtral,
        LoraConfig(target_modules=["q_proj"], target_parameters=["experts.gate_up_proj", "experts.down_proj"]),
        "lora", IDS, "CAUSAL_LM",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_the_plain_lora_puts_out_the_same(case: str) -> None:
    make, config, name, inputs, task_type = CASES[case]
    adapted = _disturbed(get_peft_model(make(), config))
    layers = convert_layers(adapted, card(name), {}, most=1000, calibration=None)
    rank = max(layer.rank for layer in layers)
    plain = attach_plain_lora(make(), lora_weights(layers), rank=rank, task_type=task_type)
    wanted, before = _outputs(adapted, inputs), _outputs(make(), inputs)
    assert (_outputs(plain, inputs) - wanted).norm() < 1e-4 * (wanted - before).norm()
    with cut_plain_lora(plain, 1):
        assert (_outputs(plain, inputs) - wanted).norm() > 1e-2 * (wanted - before).norm()
    assert (_outputs(plain, inputs) - wanted).norm() < 1e-4 * (wanted - before).norm()


def test_biases_that_are_trained_too_are_refused() -> None:
    config = LoraConfig(target_modules=["c_attn"], bias="all", fan_in_fan_out=True)
    with pytest.raises(MethodRefused, match=r"biases were trained \(bias: all\)"):
        list[Change](changes(_disturbed(get_peft_model(_gpt2(), config)), card("lora"), {}))


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")
def test_what_is_trained_whole_beside_the_adapter_is_refused_by_name() -> None:
    config = LoraConfig(target_modules=["c_attn"], modules_to_save=["lm_head"], fan_in_fan_out=True)
    with pytest.raises(MethodRefused, match=r"lm_head: trained whole"):
        list[Change](changes(_disturbed(get_peft_model(_gpt2(), config)), card("lora"), {}))
