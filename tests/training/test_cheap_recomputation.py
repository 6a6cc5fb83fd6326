"""Selective recomputation gives the gradients of training without it, and does no dear operation twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from peftscope.methods.build import BuildContext, build
from peftscope.models.kinds.causal_lm.loss import IGNORED, causal_lm_loss
from peftscope.schema.study import MemorySetting, MethodSpec, TrainSpec
from peftscope.training.cheap_recomputation import SHORT, recompute_contexts
from peftscope.training.memory_settings import prepare
from tiny import tiny_llama

METHODS = ("lora", "dora", "oft", "ia3", "gralora", "bd-lora", "prompt-tuning", "full")


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts products of matrices."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num_products += func.overloadpacket is torch.ops.aten.mm
        return func(*args, **(kwargs or {}))


def _gradients(name: str, memory: MemorySetting, **knobs: Any) -> tuple[float, dict[str, Tensor]]:
    base = tiny_llama(hidden_size=2 * SHORT)
    prepare(base, TrainSpec(memory=memory))
    torch.manual_seed(0)
    context = BuildContext(seed=0, max_steps=10, learning_rate=1e-3, warn=print, task_type="CAUSAL_LM")
    model = build(base, MethodSpec(name=name, knobs=knobs), context).model.train()
    torch.manual_seed(1)
    ids = torch.randint(0, 259, (2, 16))
    labels = ids.clone()
    labels[:, 0] = IGNORED
    loss, _ = causal_lm_loss(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels})
    loss.backward()
    return float(loss), {key: value.grad for key, value in model.named_parameters() if value.grad is not None}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", METHODS)
def test_recomputed_and_kept_activations_give_the_same_loss_and_gradients(name: str) -> None:
    loss, wanted = _gradients(name, "plain")
    for memory in ("lean", "minimal"):
        found, gradients = _gradients(name, memory)
        assert found == pytest.approx(loss, rel=1e-6)
        assert gradients.keys() == wanted.keys()
        for key, gradient in wanted.items():
            torch.testing.assert_close(gradients[key], gradient, rtol=1e-4, atol=1e-5)


def test_dropout_is_drawn_alike_when_it_is_drawn_again() -> None:
    _, wanted = _gradients("lora", "plain", lora_dropout=0.3)
    _, gradients = _gradients("lora", "lean", lora_dropout=0.3)
    for key, gradient in wanted.items():
        torch.testing.assert_close(gradients[key], gradient, rtol=1e-4, atol=1e-5)


def test_what_is_kept_and_then_added_to_in_place_is_kept_as_it_was() -> None:
    """PyTorch's own contexts add to it again in the backward pass: with GraLoRA, gradients were off by a fifth."""
    width = 2 * SHORT
    weight = (torch.randn(width, width) / width).requires_grad_()

    def block(x: Tensor) -> Tensor:
        product = torch.nn.functional.linear(x[None], weight)
        product += x
        return torch.nn.functional.linear(product.square(), weight).sin()

    found = []
    for contexts in (None, recompute_contexts):
        x = torch.randn(4, width, generator=torch.Generator().manual_seed(0)).requires_grad_()
        options: Any = {} if contexts is None else {"context_fn": contexts}
        out = checkpoint(block, x, use_reentrant=False, **options) if contexts else block(x)
        found.append(torch.autograd.grad(out.sum(), [x, weight]))
    torch.testing.assert_close(found[1], found[0])


def test_products_are_not_computed_again_but_for_cheap_ones() -> None:
    def block(x: Tensor) -> Tensor:
        return ((x @ weight).relu() @ weight).relu() @ weight + x

    counts = {}
    for width in (2 * SHORT, SHORT):
        weight = torch.randn(width, width, requires_grad=True)
        x = torch.randn(4, width, requires_grad=True)
        for options in ({"context_fn": recompute_contexts}, {}):
            with _Counting() as counting:
                checkpoint(block, x, use_reentrant=False, **options).sum().backward()
            counts[width, bool(options)] = counting.num_products
    assert counts[2 * SHORT, True] == 9, "three forward, six backward"
    assert counts[2 * SHORT, False] > 9
    assert counts[SHORT, True] == counts[SHORT, False], "cheap ones are"


def test_lean_and_checkpointing_together_are_refused() -> None:
    with pytest.raises(ValueError, match="memory: minimal is checkpointing"):
        TrainSpec(memory="lean", checkpointing=True)
    assert TrainSpec(memory="minimal", checkpointing=True).recomputation == "all"
