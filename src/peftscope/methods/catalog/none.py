"""The two ends of the scale: nothing trained, everything trained."""

from __future__ import annotations

from peftscope.methods.card import Card
from peftscope.methods.catalog.rates import published

__all__ = ["CARDS"]

CARDS: tuple[Card, ...] = (
    Card(
        name="base",
        title="Untouched base model",
        family="none",
        peft_type=None,
        summary="The base model as it was loaded: the zero line every method is held against.",
        paper=None,
        targets="none",
    ),
    Card(
        name="full",
        title="Full fine-tuning",
        family="none",
        peft_type=None,
        summary="Trains every weight of the base.",
        paper=None,
        rate=published("MetaMathQA/full-finetuning/llama-3.2-3B-lr_0.00001", 1e-5, 1e-6, 1e-4),
        targets="all",
        limits=(
            "memory for gradients and optimizer states of all weights",
            "a checkpoint as large as the model",
        ),
        changes_base=True,
    ),
)
