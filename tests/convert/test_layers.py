"""Every sort of weight: attention as Conv1D, embeddings, convolutions, fused experts, whatever the method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM

from peftscope.convert.changes import Change, changes, kept_originals
from peftscope.convert.conversion import ConvertedLayer, convert_layers, converted_layer, lora_weights
from peftscope.convert.ranks import even, held_share, shared_out
from peftscope.errors import MethodRefused
from peftscope.methods import checkpoint
from peftscope.methods.catalog import card
from peftscope.methods.plain_lora import LoraWeights, attach_plain_lora

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
def test_what_is_trained_beside_the_adapter_is_carried(case: str, tmp_path: Path) -> None:
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
    checkpoint.save_adapter(plain, tmp_path, base=None, revision=None)
    reloaded = checkpoint.load(_gpt2(), tmp_path, card("lora"))
    assert (_outputs(reloaded, IDS) - wanted).norm() < 1e-4 * (wanted - before).norm()


def test_a_base_that_is_made_another_network_is_refused() -> None:
    config = LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)
    adapted = get_peft_model(_gpt2(), config)
    adapted.peft_config["default"].layer_replication = [(0, 2), (1, 2)]
    with pytest.raises(MethodRefused, match="layer_replication makes another network"):
        list(changes(adapted, card("lora"), {}))


def _of_mixtral() -> tuple[Any, list[ConvertedLayer]]:
    """An adapter on experts and on attention, and its layers."""
    make, config, name, _, _ = CASES["experts"]
    adapted = _disturbed(get_peft_model(make(), config))
    return adapted, convert_layers(adapted, card(name), {}, most=1000, calibration=None).layers


@pytest.mark.filterwarnings("ignore")
def test_two_experts_weights_of_a_module_may_have_ranks_of_their_own(tmp_path: Path) -> None:
    adapted, layers = _of_mixtral()
    cut = [layer.cut(3 if "down" in layer.name else 8) for layer in layers]
    plain = attach_plain_lora(_mixtral(), lora_weights(cut), task_type="CAUSAL_LM", is_even=False)
    filled = attach_plain_lora(_mixtral(), lora_weights(cut), task_type="CAUSAL_LM")
    wanted = _outputs(filled, IDS)
    assert (wanted - _outputs(adapted, IDS)).norm() > 1e-3
    assert torch.allclose(_outputs(plain, IDS), wanted, atol=1e-5)
    checkpoint.save_adapter(plain, tmp_path, base=None, revision=None)
    assert torch.allclose(_outputs(checkpoint.load(_mixtral(), tmp_path, card("lora")), IDS), wanted, atol=1e-5)


class LikeNamed(nn.Module):
    """One module's full name ends another's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.ModuleDict({"out": nn.Linear(8, 8), "in": nn.Linear(8, 8)})
        self.out = nn.Linear(8, 8)

    def forward(self, input_ids: Tensor) -> Tensor:
        outputs: Tensor = self.out(self.block["out"](self.block["in"](input_ids)))
        return outputs


@pytest.mark.filterwarnings("ignore")
def test_a_module_whose_name_ends_another_keeps_its_own_rank(tmp_path: Path) -> None:
    def weights(module: str, rank: int) -> LoraWeights:
        return LoraWeights(module=module, a=torch.randn(rank, 8), b=torch.randn(8, rank))

    given = [weights("out", 2), weights("block.out", 5), weights("block.in", 3)]
    inputs = torch.randn(4, 8)
    wanted = _outputs(attach_plain_lora(LikeNamed(), given, task_type=None), inputs)
    plain = attach_plain_lora(LikeNamed(), given, task_type=None, is_even=False)
    assert torch.allclose(_outputs(plain, inputs), wanted, atol=1e-5)
    checkpoint.save_adapter(plain, tmp_path, base=None, revision=None)
    assert torch.allclose(_outputs(checkpoint.load(LikeNamed(), tmp_path, card("lora")), inputs), wanted, atol=1e-5)
    sizes = [tensor.shape for tensor in load_file(tmp_path / "adapter_model.safetensors").values()]
    assert {min(size) for size in sizes} == {2, 3, 5}


def test_a_rank_is_shared_out_among_weights_whose_outputs_are_known_and_even_elsewhere() -> None:
    _, layers = _of_mixtral()
    known = {layer.name: 1.0 for layer in layers if "q_proj" in layer.name}
    known[next(iter(known))] = 100.0
    found = {layer.name: layer.rank for layer in shared_out(layers, 4, known)}
    assert {rank for name, rank in found.items() if "experts" in name} == {4}
    assert sum(rank for name, rank in found.items() if "q_proj" in name) <= 8
    assert held_share(even(layers, 8), layers) > held_share(even(layers, 2), layers)


def test_a_layer_that_was_given_nothing_keeps_its_change() -> None:
    torch.manual_seed(0)
    delta = torch.randn(6, 5, dtype=torch.float64)
    change = Change(module="m", parameter="weight", form="linear", delta=delta)
    found = converted_layer(change, torch.zeros(5, 5), most=5)
    assert not found.weighted
    assert found.rank == 5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_what_is_too_large_for_double_precision_comes_out_in_single(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peftscope.convert.changes.DOUBLE_UP_TO", 0)
    make, config, name, inputs, task_type = CASES[case]
    adapted = _disturbed(get_peft_model(make(), config))
    layers = convert_layers(adapted, card(name), {}, most=1000, calibration=None).layers
    plain = attach_plain_lora(make(), lora_weights(layers), task_type=task_type)
    wanted, before = _outputs(adapted, inputs), _outputs(make(), inputs)
    assert (_outputs(plain, inputs) - wanted).norm() < 1e-3 * (wanted - before).norm()
