"""Methods that train one factor a channel."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.rates import published

__all__ = ["CARDS"]

CARDS: tuple[Card, ...] = (
    Card(
        name="ia3",
        title="(IA)³",
        family="scaling",
        peft_type="IA3",
        summary="Multiplies outputs of attention layers and inputs of feed-forward ones by a trained vector.",
        paper=Paper(
            title="Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning",
            arxiv="2205.05638",
            year=2022,
        ),
        rate=published(
            "MetaMathQA/ia3/llama-3.2-3B-lr_0.001",
            1e-3,
            1e-4,
            1e-2,
            "published: 0.35 at 1e-4, 0.41 at 1e-3; the range goes on for a decade above",
        ),
        targets="feedforward-aware",
        limits=("a layer of the feed-forward part is scaled on its input, every other one on its output",),
    ),
)
