"""Products of float32 matrices by oneDNN, the library PyTorch comes with for CPUs beside its own choice."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

__all__ = ["has_onednn", "linear"]


def has_onednn() -> bool:
    """Whether this build of PyTorch has ``linear``."""
    onednn: Any = torch.backends.mkldnn
    return bool(onednn.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``inputs @ weight.T + bias``, without a gradient; the weight may be packed by oneDNN."""
    product: Any = torch.ops.mkldnn._linear_pointwise
    return cast(Tensor, product(inputs, weight, bias, "none", [], ""))
