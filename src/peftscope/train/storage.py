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
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

__all__ = ["LiveStorage", "tensors_of"]


class LiveStorage(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context that counts the bytes of live tensor storage and keeps their peak.

    Args:
        held: Tensors that are live before it begins (weights, buffers); counted from the start.

    Attributes:
        live_bytes: Storage alive now.
        peak_bytes: Largest value of ``live_bytes`` so far.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = 0
        self.peak_bytes = 0
        self._seen: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in held:
            self._count(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_iter(result):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return result

    def _count(self, tensor: Tensor) -> None:
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):  # sparse and other layouts without one storage
            return
        key = id(storage)
        known = self._seen.get(key)
        if known is not None and known() is storage:
            return
        size = storage.nbytes()

        def freed(_: object, key: int = key, size: int = size) -> None:
            self.live_bytes -= size
            self._seen.pop(key, None)

        self._seen[key] = weakref.ref(storage, freed)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def tensors_of(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers of a model, with the gradients that are there."""
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    return tensors + [p.grad for p in model.parameters() if p.grad is not None]
