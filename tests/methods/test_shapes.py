"""A base without weights gives every method the shapes, types and sizes of a real build."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peftscope.methods import catalog, checkpoint
from peftscope.methods.build import BuildContext, Built, build
from peftscope.methods.card import Card
from peftscope.methods.shapes import shapes_only
from peftscope.schema.study import MethodSpec

Facts = tuple[tuple[int, ...], torch.dtype, bool]

CARDS = list(catalog.cards().values())
BUILT = [card for card in CARDS if card.refused is None]

RANKS_FROM_DATA = {"eva": "data share the ranks out", "adamss": "k-means makes unequal clusters"}
"""Types and starts whose single shapes data decide on: on meta the budget is shared evenly."""

pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")


def _from_data(card: Card) -> bool:
    return bool({card.init, (card.peft_type or "").lower()} & RANKS_FROM_DATA.keys())


def _held(built: Built) -> dict[str, Facts]:
    """Parameters and buffers, also those that are not saved."""
    named = [*built.model.named_parameters(), *built.model.named_buffers()]
    return {name: (tuple(tensor.shape), tensor.dtype, tensor.requires_grad) for name, tensor in named}


def _plain(built: Built) -> dict[str, Tensor]:
    """Tensors that modules keep besides: in dicts, lists and objects of peft's own (indices, stored samples)."""
    found: dict[str, Tensor] = {}
    for name, module in built.model.named_modules():
        kept = {key: value for key, value in vars(module).items() if key not in ("_parameters", "_buffers", "_modules")}
        found |= dict(_tensors(kept, name))
    return found


def _tensors(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _tensors(item, f"{path}.{place}")
    elif type(value).__module__.startswith("peft.tuners") and not isinstance(value, nn.Module):
        # Objects beside the modules, MonteCLoRA's store of samples; what they hold of the model is found above.
        own = {key: item for key, item in getattr(value, "__dict__", {}).items() if not isinstance(item, nn.Module)}
        yield from _tensors(own, path)
    elif type(value).__module__.startswith("torch.distributions"):
        yield from _tensors(vars(value), path)


@pytest.fixture
def both(
    make_base: Callable[[], nn.Module],
    context: Callable[..., BuildContext],
    knobs_for: Callable[[Card], dict[str, Any]],
) -> Callable[..., tuple[Built, Built]]:
    """Builds a card on the tiny base, and on the same base without weights, data and tokenizer."""

    def make(card: Card, dtype: torch.dtype = torch.float32, **changes: Any) -> tuple[Built, Built]:
        method = MethodSpec(name=card.name, knobs=knobs_for(card))
        torch.manual_seed(1)
        real = build(make_base().to(dtype), method, context(**changes))
        nothing = {"calibration": None, "inputs": None, "processor": None}
        return real, build(make_base().to(dtype).to("meta"), method, context(**changes, **nothing))

    return make


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("card", BUILT, ids=lambda card: card.name)
def test_a_build_without_weights_has_the_shapes_of_a_real_one(
    card: Card, dtype: torch.dtype, both: Callable[..., tuple[Built, Built]]
) -> None:
    real, meta = both(card, dtype)
    held, expected = _held(meta), _held(real)
    plain, expected_plain = _plain(meta), _plain(real)
    assert (meta.tuner_class, meta.adapted_modules) == (real.tuner_class, real.adapted_modules)
    everything = [*meta.model.parameters(), *meta.model.buffers(), *plain.values()]
    assert {tensor.device.type for tensor in everything} == {"meta"}
    assert plain.keys() == expected_plain.keys()
    if _from_data(card):
        # Which layer or cluster is how large follows from values. Names, types and the sums of sizes do not, but
        # that clusters of fewer rows than their rank and layers of another width make a difference.
        assert {n: f[1:] for n, f in held.items()} == {n: f[1:] for n, f in expected.items()}
        assert meta.num_trainable_params == pytest.approx(real.num_trainable_params, rel=0.1)
        if card.name == "adamss":  # its subspaces have rank 1, however many rows a cluster has
            assert meta.num_trainable_params == real.num_trainable_params
        rows = {"seg_result": 0, "scatter_index": 0}
        for tensors, sign in ((plain, 1), (expected_plain, -1)):
            for name, tensor in tensors.items():
                rows[next(key for key in rows if key in name)] += sign * tensor.numel()
        assert rows == {"seg_result": 0, "scatter_index": 0}
        return
    assert held == expected
    assert (meta.num_trainable_params, meta.num_total_params) == (real.num_trainable_params, real.num_total_params)
    facts = [{n: (t.shape, t.dtype) for n, t in tensors.items()} for tensors in (plain, expected_plain)]
    assert facts[0] == facts[1]


@pytest.mark.parametrize("name", ["lora", "monteclora", "mica", "vera", "boft", "p-tuning"])
def test_adapter_weights_in_the_base_dtype_have_it_on_meta_too(
    name: str, both: Callable[..., tuple[Built, Built]]
) -> None:
    real, meta = both(catalog.card(name), torch.bfloat16, autocast_adapter_dtype=False)
    assert _held(meta) == _held(real)


@pytest.mark.parametrize("card", BUILT, ids=lambda card: card.name)
def test_the_checkpoint_size_is_predicted_before_it_is_written(
    card: Card, both: Callable[..., tuple[Built, Built]], tmp_path: Path
) -> None:
    real, meta = both(card)
    least, most = checkpoint.saved_bytes(real)
    written = checkpoint.save(real, tmp_path)
    if card.peft_type == "ADALORA":  # nothing is pruned yet
        assert least < written == most
    else:
        assert least == written == most
    if _from_data(card):
        shortest, longest = checkpoint.saved_bytes(meta)
        assert shortest <= written <= longest
    else:
        assert checkpoint.saved_bytes(meta) == (least, most)


def test_a_pruned_adalora_checkpoint_is_as_large_as_predicted(
    both: Callable[..., tuple[Built, Built]], batch: Callable[..., dict[str, Tensor]], tmp_path: Path
) -> None:
    real, _ = both(catalog.card("adalora"), max_steps=6)
    least, most = checkpoint.saved_bytes(real)
    optimizer = torch.optim.AdamW([p for p in real.model.parameters() if p.requires_grad], lr=1e-2)
    assert real.after_step is not None
    for step in range(1, 7):
        real.model(**batch(step)).loss.backward()
        optimizer.step()
        real.after_step(step)
        optimizer.zero_grad()
    written = checkpoint.save(real, tmp_path)
    assert least <= written < most
    assert checkpoint.saved_bytes(real) == (written, written)


def test_tied_weights_are_written_once(make_base: Callable[..., nn.Module], tmp_path: Path, context: Any) -> None:
    real = build(make_base(tie_word_embeddings=True), MethodSpec(name="full"), context())
    assert checkpoint.saved_bytes(real) == (checkpoint.save(real, tmp_path),) * 2
    base: Any = make_base(tie_word_embeddings=True).to("meta")
    base.tie_weights()  # moving has made two of one
    meta = build(base, MethodSpec(name="full"), context())
    assert checkpoint.saved_bytes(meta) == checkpoint.saved_bytes(real)


def test_shapes_of_text_initialized_prompts_need_no_tokenizer(
    make_base: Callable[[], nn.Module], context: Callable[..., BuildContext]
) -> None:
    config = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": 5,
        "prompt_tuning_init": "TEXT",
        "prompt_tuning_init_text": "a text",
        "tokenizer_name_or_path": "/nowhere",
    }
    method = MethodSpec(name="prompt-tuning", peft_config=config)
    built = build(make_base().to("meta"), method, context(inputs=None, processor=None))
    assert built.num_trainable_params == 5 * 64
    assert built.peft_config is not None
    assert built.peft_config["prompt_tuning_init"] == "TEXT"


def test_shapes_only_mode_restores_all_patched_functions() -> None:
    from peft.tuners.boft.layer import BOFTLayer

    before = BOFTLayer.perm2mat
    with shapes_only():
        assert torch.randn(2, device="cpu").is_meta
        assert not torch.zeros(3).any()
        assert torch.ones(2, 2).tolist() == [[1.0, 1.0], [1.0, 1.0]]
        assert torch.ones(4)[torch.ones(4) > 0].shape == (4,)
    with pytest.raises(KeyError), shapes_only():
        raise KeyError
    assert BOFTLayer.perm2mat is before
    assert gc.isenabled()
    assert torch.zeros(2).device.type == "cpu"
    assert torch.zeros(1).any().item() is False
