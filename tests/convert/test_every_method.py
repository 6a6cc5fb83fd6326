"""Every method, trained: a plain LoRA of full rank puts out what it put out, or the method is refused with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peftscope.convert.changes import kept_originals
from peftscope.convert.conversion import convert_layers, lora_weights
from peftscope.errors import MethodRefused
from peftscope.methods import catalog, checkpoint
from peftscope.methods.build import build
from peftscope.methods.capabilities import MERGE, refusal, require_mergeable
from peftscope.methods.card import Card
from peftscope.methods.plain_lora import attach_plain_lora
from peftscope.schema.study import MethodSpec
from small_methods import logits_of, train

TRAINABLE = [card for card in catalog.cards().values() if card.trains]
REFUSED = {card.name for card in TRAINABLE if refusal(card.name, MERGE) is not None}
"""What was seen not to merge."""
WHOLE = {"ln-tuning"}
"""What changes norms alone, for which LoRA has no factors."""
SINGLE = {"adamss", "adamss-asa"}
"""Compute in float32 whatever they are given."""
QUICK = {"lora", "rslora", "dora", "pissa", "oft", "adalora", "ia3", "trainable-tokens", "ln-tuning", "full"}
"""The rest is slow together."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled"),
    pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk"),
]


@pytest.mark.parametrize(
    "card",
    [pytest.param(card, id=card.name, marks=[] if card.name in QUICK else [pytest.mark.slow]) for card in TRAINABLE],
)
def test_at_full_rank_a_plain_lora_puts_out_the_same_or_the_method_is_refused(
    card: Card,
    make_base: Callable[[], nn.Module],
    context: Callable[..., Any],
    batch: Callable[..., dict[str, Tensor]],
    knobs_for: Callable[[Card], dict[str, Any]],
    tmp_path: Path,
) -> None:
    torch.manual_seed(1)
    built = build(make_base(), MethodSpec(name=card.name, knobs=knobs_for(card)), context())
    assert card.rate is not None
    train(built, batch, card.rate.default)
    checkpoint.save(built, tmp_path)

    base = make_base()
    with kept_originals(base, card) as originals:
        adapted = checkpoint.load(base, tmp_path, card)
        if card.name in REFUSED:
            with pytest.raises(MethodRefused, match=f"{card.name} cannot be converted: "):
                require_mergeable(card.name, "converted")
            return
        converted = convert_layers(adapted, card, originals, most=10_000, calibration=None)
    layers = converted.layers
    if card.name in WHOLE:
        assert not layers
        assert all("norm" in of.name for of in converted.wholes)
        return
    assert all(re.fullmatch(r"(model\.(layers|embed_tokens)|lm_head).*", layer.module) for layer in layers)
    assert bool(converted.wholes) == (card.name == "full")
    plain = attach_plain_lora(
        make_base(),
        lora_weights(layers),
        task_type="CAUSAL_LM",
        wholes={of.name: of.value for of in converted.wholes},
    )

    inputs = batch(0)
    before, wanted, given = (
        logits_of(model.to(torch.float32 if card.name in SINGLE else torch.float64).eval(), inputs)
        for model in (make_base(), adapted, plain)
    )
    effect = (wanted - before).norm()
    assert effect > 0
    assert (given - wanted).norm() <= 1e-4 * effect
