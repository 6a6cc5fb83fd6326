"""Noting every allocation of a training step, without doing it: shapes on the ``meta`` device, no values.

Operations pass a dispatch mode that notes each storage as it comes and goes, in order. What an accelerator
would hold follows from that list alone (:mod:`peftscope.footprint.allocator`). Two things are not as they are on
``meta``: a value asked for (``loss.item()``) is answered by a constant, and attention, which ``meta`` would take
apart into its mathematics, is done by the fused kernel of the device that is asked about.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from peftscope.footprint.meta_kernels import MetaKernels, Target, attention_flops
from peftscope.footprint.meta_shapes import ShapeMemory

__all__ = ["Allocation", "StepTrace"]

aten: Any = torch.ops.aten

_SHAPES = ShapeMemory()

_TRANSFORMS = {aten._fft_c2c.default, aten._fft_r2c.default, aten._fft_c2r.default}
"""Fourier transforms; over several dimensions, cuFFT works in a buffer as large as the signal."""
_PACKED_PRODUCTS = {"bitsandbytes::gemm_4bit", "bitsandbytes::int8_scaled_mm"}
"""With a packed weight. One of 4 bit is unpacked for it where there are more than a few rows."""
_ATTENTION = "peftscope::attention_of_shapes"
COMPLEX_BYTES = 8
"""Of an element there."""


@dataclass(slots=True)
class Allocation:
    """A storage that came while the trace ran."""

    num_bytes: int
    last_dim: int
    """Last dimension of the tensor it came with; outputs are known by it."""


class StepTrace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context that notes storages and floating-point operations.

    Args:
        held: Tensors that are there before it begins; their coming is not noted.
        target: What the step is meant for: ``accelerator`` counts tensors on ``meta`` alone, ``cpu`` all.

    Attributes:
        allocations: All storages that came, by number.
        events: Number of a storage and whether it came (or went), in order.
        flops: Floating-point operations of matrix products, convolutions and attention.
    """

    def __init__(self, held: Iterable[Tensor], target: Target) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.target = target
        self.allocations: list[Allocation] = []
        self.events: list[tuple[int, bool]] = []
        self.flops = 0
        self._known: dict[int, tuple[weakref.ref[torch.UntypedStorage], int]] = {}
        self._attention = MetaKernels(target, self._add_flops)
        for tensor in held:
            self._note(tensor, held=True)

    def number_of(self, tensor: Tensor) -> int | None:
        """Number of the storage of a tensor; None where it was held from the start or is not counted."""
        key = id(tensor.untyped_storage())
        number = self._known[key][1] if key in self._known else -1
        return None if number < 0 else number

    def _add_flops(self, flops: int) -> None:
        self.flops += flops

    def __enter__(self) -> StepTrace:
        self._attention.__enter__()
        return super().__enter__()  # type: ignore[no-untyped-call,no-any-return]

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)  # type: ignore[no-untyped-call]
        self._attention.__exit__(*failure)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            return _constant(args[0].dtype)
        kwargs = kwargs or {}
        result = _SHAPES.call(func, args, kwargs)
        count = attention_flops if func.name() == _ATTENTION else flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **kwargs, out_val=result)
        for leaf in (result,) if isinstance(result, Tensor) else tree_iter(result):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        if func.name() in _PACKED_PRODUCTS:
            self.flops += 2 * result.numel() * args[0].shape[-1]
            if not isinstance(args[2], Tensor):  # the shape of a weight that is unpacked for it; an 8-bit one is not
                self._note_for_a_moment(math.prod(args[2]) * result.element_size())
        if func in _TRANSFORMS and self.target == "accelerator" and result.is_meta and len(args[1]) > 1:
            self._note_for_a_moment(max(args[0].numel(), result.numel()) * COMPLEX_BYTES)
        return result

    def _note_for_a_moment(self, num_bytes: int) -> None:
        number = len(self.allocations)
        self.allocations.append(Allocation(num_bytes, 0))
        self.events += [(number, True), (number, False)]

    def _note(self, tensor: Tensor, *, held: bool = False) -> None:
        if self.target == "accelerator" and not tensor.is_meta:
            return
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):  # sparse and other layouts without one storage
            return
        key = id(storage)
        known = self._known.get(key)
        if known is not None and known[0]() is storage:
            return
        number = -1 if held else len(self.allocations)
        if not held:
            self.allocations.append(Allocation(storage.nbytes(), tensor.shape[-1] if tensor.ndim else 0))
            self.events.append((number, True))

        def freed(_: object, key: int = key, number: int = number) -> None:
            self._known.pop(key, None)
            if number >= 0:
                self.events.append((number, False))

        self._known[key] = (weakref.ref(storage, freed), number)


def _constant(dtype: torch.dtype) -> float | int | bool:
    """What a value on ``meta`` is taken for: finite, and as if there were padding."""
    if dtype == torch.bool:
        return False
    return 1.0 if dtype.is_floating_point else 1
