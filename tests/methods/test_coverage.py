"""The policy on odd architectures: what is left out, why, and how much that is."""

from pathlib import Path
from typing import Any

import pytest
import tiny_architectures as architectures
import torch
from transformers import PreTrainedModel

from peftscope.errors import MethodRefused
from peftscope.methods.build import build
from peftscope.methods.coverage import coverage
from peftscope.methods.targets import linear_targets
from peftscope.schema.study import MethodSpec


def empty(name: str) -> PreTrainedModel:
    with torch.device("meta"):
        model: PreTrainedModel = architectures.ARCHITECTURES[name][1]()
    return model


def by_hand(model: PreTrainedModel, *parts: str) -> float:
    """Share of the weights whose names hold one of some parts."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return sum(size for name, size in sizes.items() if any(part in name for part in parts)) / sum(sizes.values())


@pytest.mark.parametrize(
    ("name", "parts", "reason"),
    [
        ("mixtral", [".experts."], "fused"),
        ("gpt-oss", [".experts."], "fused"),
        ("qwen3-next", [".experts."], "fused"),
        ("mamba", ["out_proj"], "peft refuses"),
        ("nemotron-h", ["out_proj"], "peft refuses"),
        ("mamba", ["dt_proj"], "never calls"),
        ("mamba", ["x_proj"], "never calls"),
        ("deepseek-v3", ["mlp.down_proj", "mlp.up_proj", "mlp.gate_proj", "shared_experts"], "takes these names"),
        ("gemma3", ["vision_tower", "multi_modal_projector"], "text never reaches"),
        ("llama4", ["vision_model", "multi_modal_projector"], "text never reaches"),
    ],
)
def test_what_is_left_out_is_said_with_its_share(name: str, parts: list[str], reason: str) -> None:
    model = empty(name)
    expected = by_hand(model, *parts)
    shares = [left.share for left in coverage(model).left_out if reason in left.why]
    assert any(share == pytest.approx(expected, rel=0.02) for share in shares), (shares, expected)


@pytest.mark.parametrize("name", ["llama", "phi3", "gpt2", "gemma2", "falcon", "opt"])
def test_nothing_is_left_out_of_a_dense_model(name: str) -> None:
    found = coverage(empty(name))
    assert found.lines() == []
    assert found.share == pytest.approx(by_hand(empty(name), *linear_targets(empty(name))), rel=0.01)


def test_a_router_that_gives_two_tensors_is_left_out() -> None:
    assert not any("router" in name for name in coverage(empty("llama4")).modules)


def test_values_are_not_needed_and_weights_stay_where_they_are() -> None:
    model = architectures.ARCHITECTURES["llama"][1]()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    state = torch.get_rng_state()
    found = coverage(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert found == coverage(empty("llama"))
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_all_methods_adapt_the_same_layers_where_peft_takes_names_for_experts(context: Any) -> None:
    adapted = {}
    for name in ("lora", "oft", "vera", "ia3"):
        model = architectures.ARCHITECTURES["deepseek-v3"][1]()
        built = build(model, MethodSpec(name=name), context())
        adapted[name] = built.adapted_modules
        assert built.adapted_share == pytest.approx(coverage(empty("deepseek-v3")).share)
        assert [left.what for left in built.left_out if "fused into" in left.why] == ["the experts"]
    assert len(set(adapted.values())) == 1


def test_experts_are_adapted_where_they_are_asked_for(context: Any) -> None:
    model = architectures.ARCHITECTURES["mixtral"][1]()
    share = by_hand(model, "experts", "self_attn")
    built = build(model, MethodSpec(name="lora", targets=("all-linear", "experts")), context())
    assert "model.layers.0.mlp.experts.gate_up_proj" in built.adapted_modules
    assert "model.layers.1.mlp.experts.down_proj" in built.adapted_modules
    assert "model.layers.1.self_attn.q_proj" in built.adapted_modules
    assert built.adapted_share == pytest.approx(share, rel=0.01)
    assert built.left_out == ()


def test_one_weight_of_the_experts_can_be_named(context: Any) -> None:
    model = architectures.ARCHITECTURES["gpt-oss"][1]()
    built = build(model, MethodSpec(name="lora", targets=("q_proj", "experts.down_proj")), context())
    kinds = {name.rpartition(".")[2] for name in built.adapted_modules}
    assert kinds == {"q_proj", "down_proj"}


def test_a_method_that_cannot_adapt_experts_is_refused_with_a_reason(context: Any) -> None:
    model = architectures.ARCHITECTURES["mixtral"][1]()
    with pytest.raises(MethodRefused, match=r"oft cannot adapt experts .* Take 'experts'"):
        build(model, MethodSpec(name="oft", targets=("all-linear", "experts")), context())


def test_experts_of_a_model_without_any_are_refused(make_base: Any, context: Any) -> None:
    with pytest.raises(MethodRefused, match="no experts with fused weights"):
        build(make_base(), MethodSpec(name="lora", targets="experts"), context())


def test_the_policy_can_be_named(make_base: Any, context: Any) -> None:
    named = build(make_base(), MethodSpec(name="lora", targets="all-linear"), context())
    assert named.adapted_modules == build(make_base(), MethodSpec(name="lora"), context()).adapted_modules


@pytest.mark.parametrize("targets", [("q_proj", "v_porj"), ("v_porj",)])
def test_a_target_that_nothing_bears_is_refused_with_the_nearest_name(
    make_base: Any, context: Any, targets: tuple[str, ...]
) -> None:
    with pytest.raises(MethodRefused, match=r"'v_porj'; did you mean 'v_proj'\?"):
        build(make_base(), MethodSpec(name="lora", targets=targets), context())


def test_a_pattern_that_matches_nothing_is_refused(make_base: Any, context: Any) -> None:
    with pytest.raises(MethodRefused, match="full name of no module"):
        build(make_base(), MethodSpec(name="lora", targets=r".*\.v_porj"), context())


def test_a_published_config_with_a_target_that_nothing_bears_is_refused(make_base: Any, context: Any) -> None:
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj", "FAKE_MODULE"]}
    with pytest.raises(MethodRefused, match="FAKE_MODULE"):
        build(make_base(), MethodSpec(name="lora", peft_config=config), context())


def test_old_names_of_experts_in_a_published_config_are_known(context: Any) -> None:
    model = architectures.ARCHITECTURES["mixtral"][1]()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj", "w1", "w2", "w3"]}
    built = build(model, MethodSpec(name="lora", peft_config=config), context())
    assert "model.layers.0.mlp.experts.gate_up_proj" in built.adapted_modules


def test_the_tiny_models_can_be_saved_and_found(tmp_path: Path) -> None:
    assert {path.name for path in architectures.save_tiny("gpt2", tmp_path).iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
