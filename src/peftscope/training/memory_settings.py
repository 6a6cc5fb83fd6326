"""What trades memory for time, applied to the base before a method is built on it."""

from __future__ import annotations

from typing import Any

from torch.utils.checkpoint import checkpoint

from peftscope.errors import MethodRefused
from peftscope.models.loss_memory import set_loss_memory
from peftscope.schema.study import TrainSpec
from peftscope.training.cheap_recomputation import recompute_contexts

__all__ = ["prepare", "unmet_setting"]


def prepare(base: Any, spec: TrainSpec) -> None:
    """Apply the memory setting and activation checkpointing to a base model.

    ``plain`` changes nothing: the loss is the model's own on all of its outputs. The other settings mark the base for
    the loss of its kind (:mod:`peftscope.models.loss_memory`), and ``lean`` and ``minimal`` recompute, through the
    model's own switch for checkpointing. That is of the non-reentrant kind, which needs no gradient on the embeddings'
    output; diffusers' models know no other.

    Raises:
        MethodRefused: Recomputation was asked for and the model has none.
    """
    if spec.saves_loss_memory:
        set_loss_memory(base, "asked")
    if spec.recomputation != "none":
        _recompute(base, spec)


def _recompute(base: Any, spec: TrainSpec) -> None:
    options: dict[str, Any] = {"use_reentrant": False}
    if spec.recomputation == "cheap":
        options["context_fn"] = recompute_contexts
    if getattr(base, "supports_gradient_checkpointing", False):
        if hasattr(base, "activation_checkpointing_enable"):
            base.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
        else:  # its name in transformers up to 5.17 at least
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    elif getattr(base, "_supports_gradient_checkpointing", False):
        base.enable_gradient_checkpointing(lambda module, *args: checkpoint(module.__call__, *args, **options))
    else:
        other = "train.checkpointing: false" if spec.checkpointing else "train.memory: fast"
        raise MethodRefused(f"{type(base).__name__} has no activation checkpointing; set {other}")


def unmet_setting(spec: TrainSpec, reason: str) -> str:
    """A line on a loss that holds all outputs though the setting says otherwise."""
    return f"train.memory: {spec.memory}: the loss holds all outputs all the same ({reason})"
