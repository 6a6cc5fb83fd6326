"""Whether the loss of a model is to be taken without ever holding all of its outputs: a mark on the base.

The training loop sets it and knows no kind of model; a kind whose outputs are large looks for it in its loss.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

__all__ = ["LossMemory", "loss_memory", "set_loss_memory"]

LossMemory = Literal["plain", "asked", "saving"]
"""All outputs are held; or that is not wanted, but was not tried on the model yet; or it was."""

MARK = "_peftscope_loss_memory"


def set_loss_memory(base: nn.Module, state: LossMemory) -> None:
    """Mark a base."""
    setattr(base, MARK, state)


def loss_memory(base: nn.Module) -> LossMemory:
    """How a base is marked."""
    found: LossMemory = vars(base).get(MARK, "plain")
    return found
