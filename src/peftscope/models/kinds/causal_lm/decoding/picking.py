"""Logits at chosen places only: the output layer sees no other hidden state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.models.kinds.causal_lm.decoding.checking import Unsuited

__all__ = ["picked_logits"]


def picked_logits(model: Any, places: Sequence[tuple[int, int]], **told: Any) -> Tensor:
    """Logits of a forward pass at places (row, column), of shape (places, vocabulary).

    A batch's logits at every place would be by far the largest tensor of scoring. What stands at the chosen places is
    therefore put before the output layer as one long row; whatever the model does with its logits afterwards
    (a cap, a scale) treats each place alike.

    Args:
        model: A causal language model.
        places: At least one.
        told: What the forward pass takes.

    Raises:
        Unsuited: The logits have another shape than either all places or the chosen ones.
    """
    rows, columns = torch.tensor(list(places)).T
    head = _output_layer(model)
    seen: list[torch.Size] = []

    def pick(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = given[0]
        seen.append(hidden.shape)
        return (hidden[rows.to(hidden.device), columns.to(hidden.device)].unsqueeze(0), *given[1:])

    hook = None if head is None else head.register_forward_pre_hook(pick)
    try:
        logits: Tensor = model(**told).logits
    finally:
        if hook is not None:
            hook.remove()
    if len(seen) == 1 and logits.shape[:2] == (1, len(places)):
        return logits[0]
    if not seen:  # the output layer is not called as a module
        return logits[rows.to(logits.device), columns.to(logits.device)]
    raise Unsuited("the output layer is called several times, or its logits are reshaped")


def _output_layer(model: Any) -> nn.Module | None:
    find = getattr(model, "get_output_embeddings", None)
    layer = find() if callable(find) else None
    return layer if isinstance(layer, nn.Module) else None
