"""The loss of causal language models on the labelled positions alone, without ever holding all logits.

The whole model runs as it always does, adapters, virtual tokens and hooks included; but its head is handed no position,
and the hidden states are caught on the way to it. Those of which the next token has a label then go through the model's
own head, and what it does to logits afterwards, a few at a time. What a few of them give to the gradient is taken at
once, so that their logits can go before the next come, and nothing is computed twice.

Shape letters: B sequences, T tokens, N labels, W hidden size, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from peftscope.models.kinds.base import Batch

__all__ = ["HeadRefused", "label_loss", "whole_model"]

CHUNK_BYTES = 2**24
"""Of float32 logits at once; beside them there may be two copies in the head's own type …"""
FEWEST = 128
"""… but so many positions at least, for which a product takes no longer than reading the head's weights does."""


class HeadRefused(Exception):
    """The head of a model cannot be used by itself; the message says why."""


def whole_model(model: nn.Module) -> PreTrainedModel | None:
    """The model of transformers with its head, inside whatever a method put around it; None where there is none."""
    found = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    return found if found is not None and found.base_model is not found else None


def label_loss(model: nn.Module, batch: Batch, rows_N: Tensor, targets_N: Tensor, **told: Any) -> Tensor:
    """Sum of -log p over some positions, in float32.

    Args:
        model: With or without a method on it.
        batch: ``input_ids`` (B, T) of it are read, for the shape.
        rows_N: Positions to take, as indices into all (B * T) there are; each stands before its target.
        targets_N: Tokens to be predicted there.
        **told: What the model's forward takes.

    Raises:
        HeadRefused: The model has no head that can be used by itself.
    """
    whole = whole_model(model)
    if whole is None:
        raise HeadRefused("no decoder and head to be told apart")
    with _caught(whole.base_model) as caught:
        given = model(input_ids=batch["input_ids"], **told)
    torch.clear_autocast_cache()  # of the head's weights, which are to be cast in a graph of their own
    if not caught:
        raise HeadRefused("it does not call its decoder as a whole, or that gives no last hidden state")
    if getattr(given, "aux_loss", None) is not None:
        raise HeadRefused("its loss has a term of its own beside that of the tokens")
    length = batch["input_ids"].shape[1]
    hidden_BTW = caught[-1].last_hidden_state[:, -length:]  # virtual tokens come first
    hidden_NW = hidden_BTW.flatten(0, 1).index_select(0, rows_N)
    most = max(FEWEST, CHUNK_BYTES // (4 * given.logits.shape[-1]))
    return _loss(_Head(whole, caught[-1]), hidden_NW, targets_N, most)


class _Head:
    """The model's own way from hidden states to logits: its forward pass with a decoder that gives what it is told.

    Args:
        whole: The model.
        output: What its decoder gave.
    """

    def __init__(self, whole: PreTrainedModel, output: ModelOutput) -> None:
        self.whole, self.output = whole, output

    def __call__(self, hidden_NW: Tensor) -> Tensor:
        """Logits (N, V)."""
        decoder, known = self.whole.base_model, vars(self.whole.base_model).get("forward")
        decoder.forward = lambda *args, **named: _with_hidden(self.output, hidden_NW[None])
        try:
            ids_1N = torch.zeros(1, len(hidden_NW), dtype=torch.long, device=hidden_NW.device)
            logits_NV = self.whole.forward(input_ids=ids_1N, use_cache=False).logits[0]
        finally:
            if known is None:
                del decoder.forward
            else:
                decoder.forward = known
        if logits_NV.ndim != 2 or len(logits_NV) != len(hidden_NW):
            raise HeadRefused("its head gives other positions than it is given")
        return cast(Tensor, logits_NV)


@contextmanager
def _caught(decoder: nn.Module) -> Iterator[list[Any]]:
    """Outputs of a decoder are kept, and handed on without a position."""
    outputs: list[Any] = []

    def catch(module: nn.Module, args: Any, output: Any) -> Any:
        hidden = getattr(output, "last_hidden_state", None)
        if not isinstance(output, ModelOutput) or not isinstance(hidden, Tensor) or hidden.ndim != 3:
            return output
        outputs.append(output)
        return _with_hidden(output, hidden[:, :0])

    handle = decoder.register_forward_hook(catch)
    try:
        yield outputs
    finally:
        handle.remove()


def _with_hidden(output: ModelOutput, hidden: Tensor) -> ModelOutput:
    other = copy.copy(output)
    other["last_hidden_state"] = hidden
    return other


def _loss(head: Callable[[Tensor], Tensor], hidden_NW: Tensor, targets_N: Tensor, most: int) -> Tensor:
    """Sum of -log p, by so many positions at once at the most; with its graph where there is one to be had."""
    total = torch.zeros((), dtype=torch.float32, device=hidden_NW.device)
    starts = range(0, len(hidden_NW), most)
    bounds = [(start, min(start + most, len(hidden_NW))) for start in starts]
    if not torch.is_grad_enabled():
        for start, end in bounds:
            total += _nll(head(hidden_NW[start:end]).float().log_softmax(-1), targets_N[start:end])
        return total
    gradients = _Gradients(hidden_NW)
    for start, end in bounds:
        total += gradients.add(head, start, end, targets_N[start:end])
    if not gradients.inputs:
        return total
    return cast(Tensor, _Known.apply(total, gradients.taken(), *gradients.inputs))  # type: ignore[no-untyped-call]


def _nll(logp_NV: Tensor, targets_N: Tensor) -> Tensor:
    return -logp_NV.gather(1, targets_N[:, None]).sum()


class _Gradients:
    """The gradient of a sum to hidden states and to the head's parameters, added up part by part."""

    def __init__(self, hidden_NW: Tensor) -> None:
        self.hidden_NW = hidden_NW
        self.leaves: list[Tensor] | None = None
        self._to_hidden = torch.empty_like(hidden_NW) if hidden_NW.requires_grad else None
        self._to_leaves: list[Tensor] = []
        self._began = torch.ones((), requires_grad=True).neg().grad_fn
        """Older than any node of the head's own."""

    @property
    def inputs(self) -> list[Tensor]:
        """What there is a gradient to."""
        return [*([self.hidden_NW] if self._to_hidden is not None else []), *(self.leaves or [])]

    def taken(self) -> list[Tensor]:
        """The gradients to ``inputs``, in their types; they are given away."""
        of_leaves = [found.to(leaf.dtype) for found, leaf in zip(self._to_leaves, self.leaves or [], strict=True)]
        self._to_leaves = []
        return [*([self._to_hidden] if self._to_hidden is not None else []), *of_leaves]

    def add(self, head: Callable[[Tensor], Tensor], start: int, end: int, targets_N: Tensor) -> Tensor:
        """One part: its loss."""
        part_NW = self.hidden_NW[start:end].detach().requires_grad_(self._to_hidden is not None)
        logits_NV = head(part_NW)
        if self.leaves is None:
            self.leaves = self._leaves_of(logits_NV.grad_fn, part_NW)
        inputs = [*([part_NW] if self._to_hidden is not None else []), *self.leaves]
        with torch.no_grad():
            probabilities_NV = logits_NV.float().log_softmax(-1)
            loss = _nll(probabilities_NV, targets_N)
            if not inputs:
                return loss
            probabilities_NV.exp_()
            probabilities_NV.scatter_add_(1, targets_N[:, None], probabilities_NV.new_full((len(targets_N), 1), -1.0))
            to_logits_NV = probabilities_NV.to(logits_NV.dtype)
            del probabilities_NV
        found = list(torch.autograd.grad(logits_NV, inputs, to_logits_NV))
        if self._to_hidden is not None:
            self._to_hidden[start:end] = found.pop(0)
        if not self._to_leaves:
            whole = start == 0 and end == len(
                self.hidden_NW
            )  # of several parts in half precision, sums would be rounded
            self._to_leaves = found if whole else [gradient.float() for gradient in found]
        else:
            for known, gradient in zip(self._to_leaves, found, strict=True):
                known += gradient
        return loss

    def _leaves_of(self, node: Node | None, part_NW: Tensor) -> list[Tensor]:
        """Parameters the head has, from its graph.

        Raises:
            HeadRefused: It also depends on what was computed before it.
        """
        assert self._began is not None
        seen: set[Node] = set()
        found: list[Tensor] = []
        upcoming = [node]
        while upcoming:
            node = upcoming.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            variable = getattr(node, "variable", None)
            if isinstance(variable, Tensor):
                found += [variable] if variable is not part_NW else []
            elif node._sequence_nr() < self._began._sequence_nr():
                raise HeadRefused("its head depends on what its decoder computes beside the hidden states")
            upcoming += [following for following, _ in node.next_functions]
        return found


class _Known(torch.autograd.Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients: Sequence[Tensor] | None = ctx.gradients
        assert gradients is not None, "the graph of a loss is gone backward through once"
        ctx.gradients = None
        return (None, None, *(gradient.mul_(grad) for gradient in gradients))
