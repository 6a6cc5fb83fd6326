"""The contract of comparing two models of one kind by what they put out of the same inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

__all__ = ["Likeness"]


class Likeness(ABC):
    """Inputs, what a model puts out of them, and how two outputs differ."""

    batches: Sequence[dict[str, Any]]
    """The inputs, on the CPU."""

    @abstractmethod
    def outputs(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """What a model puts out: (rows, width), in the model's own precision."""

    def differences(self, wanted: Tensor, given: Tensor) -> Mapping[str, Tensor]:
        """Figures by name, one for each row, beside the distance of the outputs themselves.

        Args:
            wanted: (rows, width) of the model that is to be matched.
            given: Of the one that is to match it.
        """
        return {}
