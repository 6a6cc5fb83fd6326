"""LoRA trained by an optimizer of its own."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.lora import LORA_KNOBS, LORA_RATE, WIDE, lora_rate
from peftscope.methods.catalog.rates import documented

__all__ = ["CARDS", "LORAPLUS_RATIO"]

LORAPLUS_RATIO = 16.0
"""Ratio of LoRA+'s two learning rates; its authors' choice for language models (LoRA+, section 5)."""

CARDS: tuple[Card, ...] = (
    Card(
        name="lora-fa",
        title="LoRA-FA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Freezes the first LoRA matrix where it starts and trains the second with corrected "
        "gradients, which saves activations.",
        paper=Paper(
            title="LoRA-FA: Memory-efficient Low-rank Adaptation for Large Language Models Fine-tuning",
            arxiv="2308.03303",
            year=2023,
        ),
        knobs=LORA_KNOBS,
        rate=lora_rate("lora/llama-3.2-3B-rank32-lorafa"),
        optimizer="lora-fa",
        needs=("its own optimizer (peft.optimizers.create_lorafa_optimizer)",),
        limits=("gradients are corrected in bfloat16 where the machine has it",),
    ),
    Card(
        name="lora-plus",
        title="LoRA+",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Trains the second LoRA matrix at a multiple of the learning rate of the first.",
        paper=Paper(
            title="LoRA+: Efficient Low Rank Adaptation of Large Models",
            arxiv="2402.12354",
            year=2024,
        ),
        knobs=LORA_KNOBS,
        rate=documented(
            "docstring of create_loraplus_optimizer: about half of LoRA's rate, here half of 1e-4",
            5e-5,
            5e-6,
            5e-4,
            WIDE,
        ),
        optimizer="lora-plus",
        needs=("its own parameter groups (peft.optimizers.create_loraplus_optimizer)",),
        limits=("the ratio of the two rates, loraplus_lr_ratio = 16, is an argument of the optimizer",),
    ),
    Card(
        name="lora-riemannian",
        title="Riemannian-preconditioned LoRA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Rescales the gradient of each LoRA matrix by the inverse Gram matrix of the other before AdamW.",
        paper=Paper(
            title="Riemannian Preconditioned LoRA for Fine-Tuning Foundation Models",
            arxiv="2402.02347",
            year=2024,
        ),
        knobs=LORA_KNOBS,
        rate=LORA_RATE,
        optimizer="lora-riemannian",
        needs=("its own optimizer (peft.optimizers.create_riemannian_optimizer)",),
        limits=(
            "a small matrix inverse per layer and step",
            "the damping, reg = 0.01, is an argument of the optimizer",
        ),
    ),
)
