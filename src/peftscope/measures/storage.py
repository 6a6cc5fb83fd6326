"""Counting live tensor storage: the primary memory figure where there is no accelerator.

Every operation passes a dispatch mode that notes the storages it returns; a storage leaves the count when it
is freed. The figure is exact and repeatable, independent of the allocator, of other threads and of what the
process held before, which sampled process memory is not.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from peftscope.training.eager_mode import EagerMode

__all__ = ["LiveStorage", "tensors_of"]


_OF_8BIT = ("CB", "SCB")
"""Where bitsandbytes keeps 8-bit weights and their scales: on the parameter before the first use, then on the layer."""


class LiveStorage(EagerMode):  # type: ignore[no-untyped-call]
    """Context that counts the bytes of live tensor storage and keeps their peak.

    Args:
        held: Tensors that are live before it begins (weights, buffers); counted from the start.

    Attributes:
        live_bytes: Storage alive now.
        peak_bytes: Largest value of ``live_bytes`` so far.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live_bytes = 0
        self.peak_bytes = 0
        self._seen: dict[int, weakref.ref[torch.UntypedStorage | Tensor]] = {}
        for tensor in held:
            self._count(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **kwargs) if kwargs else func(*args)
        for leaf in (result,) if isinstance(result, Tensor) else tree_iter(result):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage: torch.UntypedStorage | Tensor
        if tensor.is_mkldnn:  # packed by oneDNN, which keeps it itself: one tensor is one allocation
            storage, size = tensor, tensor.numel() * tensor.element_size()
        else:
            try:
                storage = tensor.untyped_storage()
            except (NotImplementedError, RuntimeError):  # sparse and other layouts without one storage
                return
            size = storage.nbytes()
        key = id(storage)
        known = self._seen.get(key)
        if known is not None and known() is storage:
            return

        def freed(_: object, key: int = key, size: int = size) -> None:
            self.live_bytes -= size
            self._seen.pop(key, None)

        self._seen[key] = weakref.ref(storage, freed)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def tensors_of(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers of a model, with the gradients that are there and the scales of quantized weights."""
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    states = [getattr(module, "state", None) for module in model.modules()]  # of 8-bit layers, among others
    for holder in (*states, *model.parameters()):
        parts = map(getattr(holder, "__dict__", {}).get, _OF_8BIT)
        tensors += [part for part in parts if isinstance(part, Tensor)]
    for parameter in model.parameters():
        tensors += _scales(getattr(parameter, "quant_state", None))
    return tensors + [p.grad for p in model.parameters() if p.grad is not None]


def _scales(state: Any) -> list[Tensor]:
    """Tensors of the state of a 4-bit weight, and of that of its scales."""
    if state is None:
        return []
    own = [part for part in vars(state).values() if isinstance(part, Tensor)]
    return own + _scales(getattr(state, "state2", None))
