"""What trades memory for time, applied to the base before a method is built on it."""

from __future__ import annotations

from typing import Any

from peftscope.errors import MethodRefused
from peftscope.schema.study import TrainSpec

__all__ = ["prepare"]


def prepare(base: Any, spec: TrainSpec) -> None:
    """Apply the memory setting and activation checkpointing to a base model.

    ``plain`` changes nothing: the loss is the model's own on all of its outputs. Checkpointing is of the non-reentrant
    kind, which needs no gradient on the embeddings' output; diffusers' models know no other.

    Raises:
        MethodRefused: Checkpointing was asked for and the model has none.
    """
    if not spec.checkpointing:
        return
    if getattr(base, "supports_gradient_checkpointing", False):
        options = {"use_reentrant": False}
        if hasattr(base, "activation_checkpointing_enable"):
            base.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
        else:  # its name in transformers up to 5.17 at least
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    elif getattr(base, "_supports_gradient_checkpointing", False):
        base.enable_gradient_checkpointing()
    else:
        raise MethodRefused(f"{type(base).__name__} has no activation checkpointing; set train.checkpointing: false")
