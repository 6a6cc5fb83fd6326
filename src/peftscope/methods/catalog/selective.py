"""Methods that train a part of the model that is already there, or nothing but biases beside it."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.rates import chosen, published

__all__ = ["CARDS"]

CARDS: tuple[Card, ...] = (
    Card(
        name="ln-tuning",
        title="LayerNorm tuning",
        family="selective",
        peft_type="LN_TUNING",
        summary="Trains the normalisation layers and nothing else.",
        paper=Paper(
            title="Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning",
            arxiv="2312.11420",
            year=2023,
        ),
        rate=chosen(
            1e-3,
            1e-4,
            1e-2,
            "the published run at 1e-4 ended at an accuracy of 0.00; what else trains as few weights (IA3) "
            "did better at 1e-3",
        ),
        targets="norms",
        limits=("merging swaps the trained norms in for the old ones",),
    ),
    Card(
        name="trainable-tokens",
        title="Trainable tokens",
        family="selective",
        peft_type="TRAINABLE_TOKENS",
        summary="Trains the embeddings of a few chosen vocabulary entries.",
        paper=None,
        rate=published("MetaMathQA/trainable_tokens/llama-3.2-3B-sos+eos", 2e-1, 2e-3, 1.0),
        targets="embeddings",
        needs=("token_indices, the ids to train; the model's own begin and end tokens where they are not given",),
        limits=(
            "moves nothing but what those tokens mean: made for new tokens beside another method",
            "with untied embeddings only tokens that occur in the inputs learn",
        ),
    ),
    Card(
        name="beft",
        title="BEFT",
        family="selective",
        peft_type="BEFT",
        summary="Trains a bias added to the value projections.",
        paper=Paper(title="BEFT: Bias-Efficient Fine-Tuning of Language Models", arxiv="2509.15974", year=2025),
        rate=published(
            "MetaMathQA/beft/llama-3.2-3B-target-v_proj",
            1e-4,
            1e-5,
            1e-2,
            "a decade below to two above: few trained weights, and what else trains few gained from more",
        ),
        targets="own",
        limits=("merges only into layers that have a bias, and most language models have none",),
    ),
)
