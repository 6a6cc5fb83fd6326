"""Building: seeds, data, refusals, counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from peftscope.errors import MethodRefused, SpecError
from peftscope.methods import catalog, initialisation
from peftscope.methods.build import build
from peftscope.methods.capabilities import CHECKPOINTING, refusal
from peftscope.methods.card import Card
from peftscope.schema.study import MethodSpec

Make = Callable[..., Any]

# What starts from the base, the data or a constant, and from no random number.
WITHOUT_CHANCE = {
    "beft", "boft", "cartridge", "coft", "corda", "eva", "full", "ia3", "ln-tuning", "mica", "miss",
    "miss-bat", "miss-mini", "oft", "olora", "osf", "pissa", "prefix-tuning-text", "prefix-tuning-zero",
    "psoft", "psoft-fast", "road", "road-2", "road-4", "super-tuning", "super-tuning-bottom",
    "trainable-tokens",
}  # fmt: skip


def _start(name: str, seed: int, make_base: Make, context: Make, knobs: dict[str, Any], data_seed: int = 0) -> Any:
    """All tensors a model begins with, also those layers keep in plain dictionaries (masks, positions)."""
    torch.manual_seed(seed)
    spec = MethodSpec(name=name, knobs=knobs)
    model = build(make_base(), spec, context(seed=seed, data_seed=data_seed)).model
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, module in model.named_modules():
        for key, kept in vars(module).items():
            if isinstance(kept, dict) and not key.startswith("_"):
                state |= {f"{name}.{key}.{k}": v for k, v in kept.items() if isinstance(v, Tensor)}
    return state


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("card", [c for c in catalog.cards().values() if c.trains], ids=lambda card: card.name)
def test_adapter_initialization_repeats_per_seed_and_differs_across_seeds(
    card: Card, make_base: Make, context: Make, knobs_for: Make
) -> None:
    start = _start(card.name, 1, make_base, context, knobs_for(card))
    assert _same(start, _start(card.name, 1, make_base, context, knobs_for(card)))
    other = _start(card.name, 2, make_base, context, knobs_for(card))
    assert _same(start, other) == (card.name in WITHOUT_CHANCE)


@pytest.mark.parametrize("name", ["eva", "corda", "lora-ga"])
def test_different_data_change_a_data_driven_initialization(name: str, make_base: Make, context: Make) -> None:
    start = _start(name, 0, make_base, context, {"r": 8})
    assert _same(start, _start(name, 0, make_base, context, {"r": 8}))
    other = _start(name, 0, make_base, context, {"r": 8}, data_seed=5)
    factors = [key for key in start.keys() & other.keys() if "lora_A" in key]
    assert factors
    assert not any(torch.equal(start[k], other[k]) for k in factors if start[k].shape == other[k].shape)


@pytest.mark.parametrize("name", ["eva", "corda", "lora-ga"])
def test_padding_does_not_affect_a_data_driven_initialization(
    name: str, make_base: Make, context: Make, batch: Make
) -> None:
    plain = batch(0)
    padded = {key: torch.nn.functional.pad(value, (0, 5), value=-100 if key == "labels" else 0)
              for key, value in plain.items()}  # fmt: skip

    def start(data: dict[str, Tensor]) -> dict[str, Tensor]:
        torch.manual_seed(0)
        around = context(calibration=lambda: iter([data]))
        state = build(make_base(), MethodSpec(name=name, knobs={"r": 8}), around).model.state_dict()
        return {key: value for key, value in state.items() if "lora_" in key}

    one, other = start(plain), start(padded)
    # Magnitudes: the sign of a singular vector is free.
    assert all(torch.allclose(one[key].abs(), other[key].abs(), atol=2e-3) for key in one)


@pytest.mark.parametrize("name", ["eva", "corda", "lora-ga"])
def test_a_data_driven_initialization_without_data_is_rejected(name: str, make_base: Make, context: Make) -> None:
    with pytest.raises(MethodRefused, match="training data"):
        build(make_base(), MethodSpec(name=name), context(calibration=None))


def test_eva_with_too_few_tokens_is_refused_instead_of_hanging(make_base: Make, context: Make) -> None:
    with pytest.raises(MethodRefused, match="192 labelled tokens"):
        build(make_base(), MethodSpec(name="eva", knobs={"r": 96}), context())


def test_eva_whose_directions_never_settle_is_refused(
    make_base: Make, context: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initialisation, "MOST_BATCHES", 3)
    knobs = {"r": 8, "eva_config": {"rho": 2.0, "tau": 1.0, "use_label_mask": True}}
    with pytest.raises(MethodRefused, match="not settled after 3 batches; take larger batches"):
        build(make_base(), MethodSpec(name="eva", knobs=knobs), context())


@pytest.mark.parametrize("card", [c for c in catalog.cards().values() if c.refused], ids=lambda card: card.name)
def test_what_cannot_run_is_refused_with_its_reason(card: Card, make_base: Make, context: Make) -> None:
    with pytest.raises(MethodRefused) as refusal:
        build(make_base(), MethodSpec(name=card.name), context())
    assert card.refused is not None
    assert card.refused in str(refusal.value)


def test_a_method_incompatible_with_the_model_is_refused_with_pefts_reason(make_base: Make, context: Make) -> None:
    with pytest.raises(MethodRefused, match="c3a does not fit this model: The block size should be"):
        build(make_base(), MethodSpec(name="c3a"), context())


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"lora_alhpa": 1}, "did you mean 'lora_alpha'"),
        ({"use_dora": False}, "that is what it is"),
        ({"target_modules": ["q_proj"]}, "unknown knob"),
    ],
)
def test_an_invalid_method_setting_is_named(
    knobs: dict[str, Any], message: str, make_base: Make, context: Make
) -> None:
    with pytest.raises(SpecError, match=message):
        build(make_base(), MethodSpec(name="dora", knobs=knobs), context())


def test_a_variant_cannot_be_switched_off(make_base: Make, context: Make) -> None:
    with pytest.raises(SpecError, match="cannot be switched off"):
        build(make_base(), MethodSpec(name="kasa", knobs={"kasa_config": None}), context())


def test_setting_one_nested_option_preserves_the_other_defaults(make_base: Make, context: Make) -> None:
    spec = MethodSpec(name="eva", knobs={"r": 8, "eva_config": {"rho": 1.0}})
    config = build(make_base(), spec, context()).peft_config
    assert config is not None
    assert config["eva_config"]["rho"] == 1.0
    assert config["eva_config"]["tau"] == 0.99


def test_lora_fa_counts_only_parameters_its_optimizer_trains(make_base: Make, context: Make) -> None:
    lora = build(make_base(), MethodSpec(name="lora"), context())
    frozen = build(make_base(), MethodSpec(name="lora-fa"), context())
    second = sum(p.numel() for name, p in lora.model.named_parameters() if "lora_B" in name)
    assert frozen.num_trainable_params == second < lora.num_trainable_params
    assert frozen.num_total_params == lora.num_total_params


@pytest.mark.parametrize(("flag", "kind"), [("is_loaded_in_8bit", "int8"), ("is_loaded_in_4bit", "nf4")])
@pytest.mark.parametrize("name", ["full", "pissa", "mica", "kasa"])
def test_a_method_unsupported_on_quantized_bases_is_refused(
    name: str, flag: str, kind: str, make_base: Make, context: Make
) -> None:
    base = make_base()
    setattr(base, flag, True)
    with pytest.raises(MethodRefused, match=f"{name} does not train on a base quantized as {kind}"):
        build(base, MethodSpec(name=name), context())


@pytest.mark.parametrize(("kind", "settings"), [("int8", {"load_in_8bit": True}), ("nf4", {"load_in_4bit": True})])
@pytest.mark.filterwarnings("ignore::UserWarning")  # bitsandbytes, on a machine without CUDA
def test_a_quantized_base_is_detected_from_its_config_and_trains(
    kind: str, settings: dict[str, bool], make_base: Make, context: Make, batch: Make, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    make_base().save_pretrained(tmp_path)
    quantized = BitsAndBytesConfig(**settings)
    for name in ("lora", "vera", "prompt-tuning"):
        base = LlamaForCausalLM.from_pretrained(tmp_path, quantization_config=quantized)
        built = build(base, MethodSpec(name=name), context())
        assert built.quantization == kind
        built.model(**batch(0)).loss.backward()
        assert any(p.grad is not None for p in built.model.parameters())
        with pytest.raises(MethodRefused):
            built.merge()


def test_pefts_warnings_are_passed_on(make_base: Make, context: Make) -> None:
    heard: list[str] = []
    build(make_base(), MethodSpec(name="beft"), context(warn=heard.append))
    assert any("bias" in line for line in heard)


def test_a_published_config_is_used_unchanged(make_base: Make, context: Make) -> None:
    raw = {"peft_type": "LORA", "r": 4, "lora_alpha": 12, "target_modules": ["v_proj"], "use_dora": True}
    built = build(make_base(), MethodSpec(name="dora", peft_config=raw), context())
    assert built.peft_config is not None
    assert built.peft_config["lora_alpha"] == 12
    assert built.adapted_modules == tuple(f"model.layers.{i}.self_attn.v_proj" for i in range(2))


def test_peft_changes_to_a_config_never_modify_the_study(make_base: Make, context: Make) -> None:
    raw = {"peft_type": "LORA", "target_modules": ["v_proj"], "modules_to_save": ["score"], "task_type": "SEQ_CLS"}
    published = MethodSpec(name="lora", peft_config=raw)
    own = MethodSpec(name="lora", knobs={"modules_to_save": ["lm_head"]})
    before = [method.model_dump_json() for method in (published, own)]
    heard: list[str] = []
    built = [build(make_base(), method, context(warn=heard.append)) for method in (published, own)]
    assert [method.model_dump_json() for method in (published, own)] == before
    assert built[0].peft_config is not None
    assert built[0].peft_config["task_type"] == "CAUSAL_LM"
    assert any("SEQ_CLS is of another kind of model; trained as CAUSAL_LM" in line for line in heard)


@pytest.mark.parametrize("name", ["lora", "dora", "pissa", "olora", "corda", "lora-ga", "mica", "lora-fa", "vera"])
def test_parameters_are_counted_without_weights(name: str, make_base: Make, context: Make) -> None:
    spec = MethodSpec(name=name, knobs={"r": 8})
    with torch.device("meta"):
        empty = LlamaForCausalLM(make_base().config)
    on_meta = build(empty, spec, context(calibration=None))
    real = build(make_base(), spec, context())
    assert {p.device.type for p in on_meta.model.parameters()} == {"meta"}
    assert on_meta.num_trainable_params == real.num_trainable_params
    assert on_meta.num_total_params == real.num_total_params
    assert on_meta.peft_config == real.peft_config


def test_full_fine_tuning_preserves_the_base_class_and_trains_all_weights(make_base: Make, context: Make) -> None:
    built = build(make_base(), MethodSpec(name="full"), context())
    assert type(built.model) is LlamaForCausalLM
    assert built.num_trainable_params == built.num_total_params == sum(p.numel() for p in built.model.parameters())
    assert "model.embed_tokens" in built.adapted_modules


def test_a_model_that_is_not_a_language_model_can_be_adapted(context: Make) -> None:
    plain = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    built = build(plain, MethodSpec(name="lora", knobs={"r": 2}), context(task_type=None))
    assert built.adapted_modules == ("0", "2")
    assert built.model(torch.randn(3, 8)).shape == (3, 4)
    with pytest.raises(MethodRefused, match="need a language model"):
        build(nn.Sequential(nn.Linear(8, 4)), MethodSpec(name="prompt-tuning"), context(task_type=None))


@pytest.mark.parametrize("name", ["lora", "ia3", "pissa", "corda", "ln-tuning", "adalora"])
def test_transposed_layers_are_adapted_without_a_warning(name: str, context: Make, knobs_for: Make) -> None:
    settings = GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1)
    heard: list[str] = []
    built = build(
        GPT2LMHeadModel(settings),
        MethodSpec(name=name, knobs=knobs_for(catalog.card(name))),
        context(warn=heard.append),
    )
    assert built.num_trainable_params > 0
    assert not any("fan_in_fan_out" in line for line in heard)


def test_checkpointing_works_with_an_adapter_and_with_all_weights(make_base: Make, context: Make, batch: Make) -> None:
    for name in ("lora", "full", "prompt-tuning"):
        built = build(make_base(), MethodSpec(name=name), context())
        inner: Any = built.model
        inner.gradient_checkpointing_enable()
        inner.enable_input_require_grads()
        inner.train()
        inner(**batch(0)).loss.backward()
        trained = [p for p in inner.parameters() if p.requires_grad]
        assert all(p.grad is not None for p in trained), name


def test_checkpointing_is_refused_for_methods_whose_training_it_would_change(make_base: Make, context: Make) -> None:
    seen = [card for card in catalog.cards().values() if refusal(card.name, CHECKPOINTING) is not None]
    assert {"prefix-tuning", "cartridge"} <= {card.name for card in seen}
    for card in seen:
        base = make_base()
        base.gradient_checkpointing_enable()
        with pytest.raises(MethodRefused, match=f"{card.name} does not train with activation checkpointing"):
            build(base, MethodSpec(name=card.name), context())


def test_llama_config_is_not_changed_by_building(make_base: Make, context: Make) -> None:
    base = make_base()
    before = LlamaConfig.from_dict(base.config.to_dict()).to_dict()
    build(base, MethodSpec(name="lora"), context())
    assert LlamaConfig.from_dict(base.config.to_dict()).to_dict() == before
