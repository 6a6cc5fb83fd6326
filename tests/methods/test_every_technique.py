"""Every method that trains, trained: what was asked for is what runs, saves, loads and merges."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftType
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from peftscope.errors import MethodRefused
from peftscope.methods import catalog, checkpoint
from peftscope.methods.build import build
from peftscope.methods.capabilities import MERGE, refusal
from peftscope.methods.card import Card
from peftscope.schema.study import MethodSpec
from small_methods import logits_of, train

TRAINABLE = [card for card in catalog.cards().values() if card.trains]
LORA_VARIANTS = {
    "dora": "DoraLinearVariant",
    "kasa": "KasaLinearVariant",
    "bd-lora": "BdLoraLinearVariant",
    "velora": "VeloraLinearVariant",
    "monteclora": "MontecloraLinearVariant",
    "mica": "MiCALinearVariant",
}

pytestmark = [
    # FRoD multiplies sparse matrices; torch remarks once per process that it does not check them.
    pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled"),
    # torch itself, under prefix tuning with a projection and p-tuning by LSTM on old CPUs.
    pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk"),
]


def _expected_tuner(card: Card) -> str:
    if card.peft_type is None:
        return card.name
    tuner = PEFT_TYPE_TO_TUNER_MAPPING[PeftType(card.peft_type)]
    return f"{tuner.__module__}.{tuner.__qualname__}"


@pytest.mark.parametrize("card", TRAINABLE, ids=lambda card: card.name)
def test_every_method_trains_and_survives_saving_loading_and_merging(
    card: Card,
    make_base: Callable[[], nn.Module],
    context: Callable[..., Any],
    batch: Callable[..., dict[str, Tensor]],
    knobs_for: Callable[[Card], dict[str, Any]],
    tmp_path: Path,
) -> None:
    base = make_base()
    before = {name: (parameter, parameter.detach().clone()) for name, parameter in base.named_parameters()}
    torch.manual_seed(1)
    built = build(base, MethodSpec(name=card.name, knobs=knobs_for(card)), context())

    assert built.tuner_class == _expected_tuner(card)
    assert bool(built.adapted_modules) != card.virtual_tokens
    trained = {n: p.detach().clone() for n, p in built.model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == built.num_trainable_params > 0

    assert card.rate is not None
    train(built, batch, card.rate.default)

    still = {n for n, p in built.model.named_parameters() if n in trained and torch.equal(p, trained[n])}
    if card.name == "shadow":  # the last layer updates a state that no layer after it reads
        still = {name for name in still if "layers.1.shadow_update" not in name}
    assert not still, "what was to be trained did not move"
    held = {id(parameter) for parameter in built.model.parameters()}
    changed = [name for name, (p, old) in before.items() if id(p) not in held or not torch.equal(p, old)]
    assert bool(changed) == card.changes_base, f"the base's {changed[:3]} changed"

    reference = logits_of(built.model, batch(0))
    assert checkpoint.save(built, tmp_path) > 0
    torch.manual_seed(99)  # loading must not lean on the random state of the training
    loaded = checkpoint.load(make_base(), tmp_path, card)
    assert torch.allclose(logits_of(loaded, batch(0)), reference, atol=1e-5)

    if refusal(card.name, MERGE) is not None:
        with pytest.raises(MethodRefused, match=card.name):
            built.merge()
        return
    merged = built.merge()
    assert torch.allclose(logits_of(merged, batch(0)), reference, atol=1e-5)
    assert not any(type(module).__module__.startswith("peft.") for module in merged.modules())
    assert torch.allclose(logits_of(built.model, batch(0)), reference, atol=1e-6), "merging broke the adapter"


@pytest.mark.parametrize("name", sorted(LORA_VARIANTS))
def test_the_requested_lora_variant_is_the_one_trained(
    name: str,
    make_base: Callable[[], nn.Module],
    context: Callable[..., Any],
    knobs_for: Callable[[Card], dict[str, Any]],
) -> None:
    card = catalog.card(name)
    built = build(make_base(), MethodSpec(name=name, knobs=knobs_for(card)), context())
    layers = [module for module in built.model.modules() if isinstance(module, LoraLayer)]
    assert len(layers) == len(built.adapted_modules) == 14
    assert {type(layer.lora_variant["default"]).__name__ for layer in layers} == {LORA_VARIANTS[name]}


def test_the_base_is_unchanged_and_saves_no_weights(
    make_base: Callable[[], nn.Module],
    context: Callable[..., Any],
    batch: Callable[..., dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    reference = logits_of(make_base(), batch(0))
    built = build(make_base(), MethodSpec(name="base"), context())
    assert built.num_trainable_params == 0
    assert not any(parameter.requires_grad for parameter in built.model.parameters())
    assert torch.equal(logits_of(built.model, batch(0)), reference)
    assert checkpoint.save(built, tmp_path) == 0
    assert torch.equal(logits_of(checkpoint.load(make_base(), tmp_path, built.card), batch(0)), reference)
