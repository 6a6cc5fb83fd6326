"""A traced step as data: which storages came and went, how large they are and what they are for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from peftscope.footprint.trace import StepTrace

__all__ = ["Kinds", "Recording", "storage_sizes"]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Storages of a step, by number."""

    events: list[tuple[int, bool]]
    """Number of a storage and whether it came (or went), in order."""
    sizes: list[int]
    """Bytes of each storage."""
    kinds: list[str]
    """Field of the breakdown each belongs to."""
    first_of_optimizer: int | None = None
    """Number from which on they are the optimizer's step's."""


class Kinds:
    """Notes beside a trace what its storages are.

    Args:
        trace: The trace, before it begins.
        output_width: The outputs are known by it.
    """

    def __init__(self, trace: StepTrace, output_width: int | None) -> None:
        self.trace = trace
        self.output_width = output_width
        self._num_events = 0
        self._gradients: set[int] = set()
        self._optimizer_from: int | None = None

    def gradient(self, parameter: Tensor) -> None:
        """Called when a gradient has been accumulated."""
        number = self.trace.number_of(parameter.grad) if parameter.grad is not None else None
        if number is not None:
            self._gradients.add(number)

    def optimizer_begins(self, *_: object) -> None:
        """Called when the optimizer's step begins."""
        self._optimizer_from = len(self.trace.allocations)

    def ended(self) -> None:
        """Called when the step has ended and nothing of it has been dropped yet; what comes later is its end."""
        self._num_events = len(self.trace.events)

    def recording(self) -> Recording:
        """What was traced, as data."""
        return Recording(
            events=self.trace.events[: self._num_events],
            sizes=[allocation.num_bytes for allocation in self.trace.allocations],
            kinds=[self._of(number) for number in range(len(self.trace.allocations))],
            first_of_optimizer=self._optimizer_from,
        )

    def _of(self, number: int) -> str:
        if number in self._gradients:
            return "gradients"
        if self._optimizer_from is not None and number >= self._optimizer_from:
            return "optimizer_state"
        is_output = self.output_width is not None and self.trace.allocations[number].last_dim == self.output_width
        return "outputs" if is_output else "activations"


def storage_sizes(tensors: Iterable[Tensor]) -> list[int]:
    """Bytes of the storages of some tensors, shared ones once."""
    storages: dict[int, torch.UntypedStorage] = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[id(storage)] = storage
    return [storage.nbytes() for storage in storages.values()]
