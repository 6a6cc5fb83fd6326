"""Between a base and an adapter: 0 is the base bit for bit, 1 the adapter, and the base is given back as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peftscope.convert.changes import kept_originals
from peftscope.convert.strength import Interpolated, held_changes
from peftscope.methods import checkpoint
from peftscope.methods.build import build
from peftscope.methods.catalog import card
from peftscope.schema.study import MethodSpec
from small_methods import logits_of, train
from tiny import tiny_llama

Batch = Callable[..., dict[str, Tensor]]


def _between(name: str, context: Any, batch: Batch, place: Path, **parts: Any) -> tuple[Interpolated, nn.Module]:
    """A base that can be moved towards a trained adapter, and the adapter on another copy of it."""
    torch.manual_seed(1)
    built = build(tiny_llama(**parts), MethodSpec(name=name), context)
    train(built, batch, 1e-2, range(5))
    checkpoint.save(built, place)
    known, base = card(name), tiny_llama(**parts)
    with kept_originals(base, known) as originals:
        adapted = checkpoint.load(base, place, known)
        found = held_changes(adapted, known, originals)
    return Interpolated(tiny_llama(**parts).requires_grad_(False), found), adapted


@pytest.mark.parametrize("name", ["lora", "dora", "hra", "pissa", "ia3", "ln-tuning", "full"])
def test_the_ends_are_base_and_adapter_and_the_middle_lies_between_them(
    name: str, context: Callable[..., Any], batch: Batch, tmp_path: Path
) -> None:
    between, adapted = _between(name, context(), batch, tmp_path)
    base, inputs = tiny_llama(), batch(0)
    before = {key: value.clone() for key, value in between.base.state_dict().items()}
    with between.at(0.0) as model:
        assert torch.equal(logits_of(model, inputs), logits_of(base, inputs))
    wanted, untouched = logits_of(adapted, inputs), logits_of(base, inputs)
    effect = (wanted - untouched).norm()
    assert effect > 0
    with between.at(1.0) as model:
        assert (logits_of(model, inputs) - wanted).norm() < 1e-4 * effect
        ends = {key: value.clone() for key, value in model.state_dict().items()}
    with between.at(0.5) as model:
        for key, value in model.state_dict().items():
            assert torch.allclose(value, (before[key] + ends[key]) / 2, atol=1e-6), key
        half = (logits_of(model, inputs) - untouched).norm()
        assert 0.1 * effect < half < effect
    assert all(torch.equal(value, before[key]) for key, value in between.base.state_dict().items())
    assert torch.equal(logits_of(between.base, inputs), untouched)


def test_a_weight_that_modules_share_is_moved_only_where_the_adapter_is(
    context: Callable[..., Any], batch: Batch, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    spec = MethodSpec(name="lora", targets=["embed_tokens"])
    built = build(tiny_llama(tie_word_embeddings=True), spec, context())
    train(built, batch, 1e-2, range(5))
    checkpoint.save(built, tmp_path)
    known, base = card("lora"), tiny_llama(tie_word_embeddings=True)
    with kept_originals(base, known) as originals:
        adapted = checkpoint.load(base, tmp_path, known)
        found = held_changes(adapted, known, originals)
    fresh = tiny_llama(tie_word_embeddings=True)
    with Interpolated(fresh, found).at(1.0) as model:
        given, wanted = logits_of(model, batch(0)), logits_of(adapted, batch(0))
        assert torch.allclose(given, wanted, atol=1e-4)
        assert not torch.equal(model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    assert fresh.get_input_embeddings().weight is fresh.get_output_embeddings().weight


def test_the_base_is_given_back_when_something_breaks_off(
    context: Callable[..., Any], batch: Batch, tmp_path: Path
) -> None:
    between, _ = _between("lora", context(), batch, tmp_path)
    with pytest.raises(KeyboardInterrupt), between.at(0.7):
        raise KeyboardInterrupt
    assert torch.equal(logits_of(between.base, batch(0)), logits_of(tiny_llama(), batch(0)))
