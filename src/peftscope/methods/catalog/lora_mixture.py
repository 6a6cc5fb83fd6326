"""Relatives of LoRA with a ``peft`` type of their own: rank allocation and mixtures of adapters."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.lora import lora_rate

__all__ = ["CARDS"]

CARDS: tuple[Card, ...] = (
    Card(
        name="adalora",
        title="AdaLoRA",
        family="low-rank",
        peft_type="ADALORA",
        summary="Trains updates in singular-value form with more rank than wanted and prunes the least "
        "important singular values as training goes on.",
        paper=Paper(
            title="AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning",
            arxiv="2303.10512",
            year=2023,
        ),
        knobs={
            "init_r": 64,
            "target_r": 32,
            "lora_alpha": 8,
            "lora_dropout": 0.0,
            "beta1": 0.85,
            "beta2": 0.85,
            "orth_reg_weight": 0.5,
            "deltaT": 1,
        },
        rate=lora_rate("adalora/llama-3.2-3B-rank32"),
        step_hook="adalora",
        penalty="adalora",
        needs=(
            "a call after each step, before the gradients are cleared",
            "a penalty beside the loss (Built.penalty)",
        ),
        limits=("its schedule (tinit, tfinal, total_step) is tied to the number of steps",),
    ),
    Card(
        name="xlora",
        title="X-LoRA",
        family="mixture",
        peft_type="XLORA",
        summary="Learns to mix several LoRA adapters, that were trained before, token by token and layer by layer.",
        paper=Paper(
            title="X-LoRA: Mixture of Low-Rank Adapter Experts, a Flexible Framework for Large Language "
            "Models with Applications in Protein Mechanics and Molecular Design",
            arxiv="2402.07148",
            year=2024,
        ),
        needs=("LoRA adapters trained before",),
        refused="mixes LoRA adapters trained elsewhere, so it needs their checkpoints",
    ),
    Card(
        name="poly",
        title="Polytropon",
        family="mixture",
        peft_type="POLY",
        summary="Learns a library of small adapters and, for each of many tasks, which of them to combine.",
        paper=Paper(
            title="Combining Modular Skills in Multitask Learning",
            arxiv="2202.13914",
            year=2022,
        ),
        needs=("several tasks, and the id of the task with every sample",),
        refused="needs a task id with every sample of a multi-task mixture; a study has one task",
    ),
)
