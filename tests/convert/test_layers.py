"""Every sort of weight: attention as Conv1D, embeddings, convolutions, fused experts, whatever the method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM

from peftscope.convert.changes import changes, kept_originals
from peftscope.convert.conversion import convert_layers, lora_weights
from peftscope.errors import MethodRefused
from peftscope.methods.catalog import card
from peftscope.methods.plain_lora import attach_plain_lora

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
    layers = convert_layers(adapted, card(name), {}, most=1000, calibration=None).layers
    wanted, before = _outputs(adapted, inputs), _outputs(make(), inputs)
    for is_even in (True, False):
        plain = attach_plain_lora(make(), lora_weights(layers), task_type=task_type, is_even=is_even)
        assert (_outputs(plain, inputs) - wanted).norm() < 1e-4 * (wanted - before).norm()
    smaller = attach_plain_lora(make(), lora_weights([layer.cut(1) for layer in layers]), task_type=task_type)
    assert (_outputs(smaller, inputs) - wanted).norm() > 1e-2 * (wanted - before).norm()


BESIDE: dict[str, tuple[dict[str, Any], set[str]]] = {
    "biases": ({"bias": "all"}, {"bias"}),
    "own-biases": ({"bias": "lora_only"}, {"bias"}),
    "a-module": ({"modules_to_save": ["ln_f"]}, {"weight", "bias"}),
    "tokens": ({"trainable_token_indices": [3, 5]}, set()),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", BESIDE)
def test_what_is_trained_beside_the_adapter_is_carried(case: str) -> None:
    settings, parameters = BESIDE[case]
    config = LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM", **settings)
    base = _gpt2()
    with kept_originals(base, card("lora")) as originals:
        adapted = _disturbed(get_peft_model(base, config))
        converted = convert_layers(adapted, card("lora"), originals, most=1000, calibration=None)
    assert {of.parameter for of in converted.wholes} == parameters
    plain = attach_plain_lora(
        _gpt2(),
        lora_weights(converted.layers),
        task_type="CAUSAL_LM",
        wholes={of.name: of.value for of in converted.wholes},
    )
    wanted, before = _outputs(adapted, IDS), _outputs(_gpt2(), IDS)
    assert (_outputs(plain, IDS) - wanted).norm() < 1e-4 * (wanted - before).norm()


def test_a_base_that_is_made_another_network_is_refused() -> None:
    config = LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)
    adapted = get_peft_model(_gpt2(), config)
    adapted.peft_config["default"].layer_replication = [(0, 2), (1, 2)]
    with pytest.raises(MethodRefused, match="layer_replication makes another network"):
        list(changes(adapted, card("lora"), {}))
