"""LoRA and the variants that change what is trained or how the update is built."""

from __future__ import annotations

from typing import Any

from peftscope.methods.card import Card, Paper, Rate
from peftscope.methods.catalog.rates import chosen, published

__all__ = ["CARDS", "LORA_KNOBS", "LORA_PAPER", "LORA_RATE", "WIDE", "lora_rate"]

LORA_PAPER = Paper(title="LoRA: Low-Rank Adaptation of Large Language Models", arxiv="2106.09685", year=2021)

LORA_KNOBS: dict[str, Any] = {"r": 32, "lora_alpha": 64, "lora_dropout": 0.0, "bias": "none"}
"""Shared by the family, so that its members differ in one thing only; the rank and alpha of the benchmark."""

WIDE = (
    "a decade to either side of the default; arXiv 2602.04998 finds that LoRA variants prefer different "
    "learning rates, so none of them may be held at one"
)


def lora_rate(folder: str, default: float = 1e-4) -> Rate:
    """A rate taken from an experiment folder of the public benchmark, searched a decade to either side."""
    return published(f"MetaMathQA/{folder}", default, default / 10, default * 10, WIDE)


LORA_RATE = chosen(1e-4, 1e-5, 1e-3, "that of plain LoRA in the public benchmark; not tuned for this one", WIDE)

CARDS: tuple[Card, ...] = (
    Card(
        name="lora",
        title="LoRA",
        family="low-rank",
        peft_type="LORA",
        summary="Adds to each adapted weight the product of a tall and a wide matrix of small rank, "
        "trained while the weight itself stays frozen.",
        paper=LORA_PAPER,
        knobs=LORA_KNOBS,
        rate=lora_rate("lora/llama-3.2-3B-rank32"),
    ),
    Card(
        name="rslora",
        title="rsLoRA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="LoRA whose update is scaled by alpha over the root of the rank, so that a larger rank "
        "does not shrink the steps.",
        paper=Paper(
            title="A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA",
            arxiv="2312.03732",
            year=2023,
        ),
        config={"use_rslora": True},
        knobs={**LORA_KNOBS, "r": 64},
        rate=lora_rate("lora/llama-3.2-3B-rank64-rslora"),
        limits=("the update is scaled up by the root of the rank compared with LoRA at the same alpha",),
    ),
    Card(
        name="dora",
        title="DoRA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Splits each weight into a length and a direction per output, trains the length freely "
        "and the direction by LoRA.",
        paper=Paper(title="DoRA: Weight-Decomposed Low-Rank Adaptation", arxiv="2402.09353", year=2024),
        config={"use_dora": True},
        knobs=LORA_KNOBS,
        rate=lora_rate("lora/llama-3.2-3B-rank32-dora"),
        limits=(
            "norms of the adapted weights are computed in every forward pass, which costs time and memory",
            "on an 8-bit base it fails on the CPU, so it is left out there",
        ),
    ),
    Card(
        name="kasa",
        title="KaSA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Removes the smallest singular components of each weight, then trains an update with its "
        "own singular values between the two LoRA matrices.",
        paper=Paper(
            title="KaSA: Knowledge-Aware Singular-Value Adaptation of Large Language Models",
            arxiv="2412.06071",
            year=2024,
        ),
        config={"kasa_config": {}},
        knobs={**LORA_KNOBS, "kasa_config": {"beta": 1e-4, "gamma": 1e-3}},
        rate=LORA_RATE,
        penalty="kasa",
        needs=("a penalty beside the loss (Built.penalty)", "an SVD of each adapted weight"),
        limits=(
            "the rank must be smaller than the smallest side of every adapted weight",
            "no Conv1D layers",
        ),
        changes_base=True,
    ),
    Card(
        name="bd-lora",
        title="BD-LoRA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Makes one of the two LoRA matrices block-diagonal, so that a model split over devices "
        "can be served without extra communication.",
        paper=None,
        config={"use_bdlora": {}},
        knobs={**LORA_KNOBS, "use_bdlora": {"nblocks": 2}},
        rate=lora_rate("lora/llama-3.2-3B-rank14-target-mlp-bdlora"),
        limits=("rank and widths must be divisible by the number of blocks",),
    ),
    Card(
        name="velora",
        title="VeLoRA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="LoRA that keeps a compressed copy of the activations for the backward pass instead of the whole.",
        paper=Paper(
            title="VeLoRA: Memory Efficient Training using Rank-1 Sub-Token Projections",
            arxiv="2405.17991",
            year=2024,
        ),
        config={"velora_config": {}},
        knobs={**LORA_KNOBS, "velora_config": {"num_groups": 64, "scale": 1.0, "init_type": "batch_average"}},
        rate=LORA_RATE,
        limits=("the number of groups must divide the width of every adapted layer's input",),
    ),
    Card(
        name="monteclora",
        title="MonteCLoRA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Perturbs one LoRA matrix by learned Monte Carlo noise during training to be less "
        "sensitive to hyper-parameters; the noise is off afterwards.",
        paper=Paper(
            title="Robust and Efficient Fine-tuning of LLMs with Bayesian Reparameterization of Low-Rank Adaptation",
            arxiv="2411.04358",
            year=2024,
        ),
        config={"monteclora_config": {}},
        knobs={
            **LORA_KNOBS,
            "monteclora_config": {"num_samples": 8, "sample_scaler": 1e-4, "buffer_size": 1},
        },
        rate=LORA_RATE,
        penalty="monteclora",
        needs=("a penalty beside the loss (Built.penalty)",),
        limits=(
            "several draws in every training step, which costs time",
            "buffer_size is 1 here: at peft's 150 the draws kept ready outgrow the model",
        ),
    ),
    Card(
        name="qalora",
        title="QA-LoRA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Pools the input of the adapter by groups so that the update fits into quantized weights.",
        paper=Paper(
            title="QA-LoRA: Quantization-Aware Low-Rank Adaptation of Large Language Models",
            arxiv="2309.14717",
            year=2023,
        ),
        config={"use_qalora": True},
        knobs=LORA_KNOBS,
        refused="peft implements it for GPTQ-quantized bases only, which is not the base the others start from",
    ),
    Card(
        name="alora",
        title="aLoRA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="LoRA that acts only on the tokens after an invocation text, so that the cache before it is shared.",
        paper=Paper(title="Activated LoRA: Fine-tuned LLMs for Intrinsics", arxiv="2504.12397", year=2025),
        refused="needs an invocation text inside every prompt (alora_invocation_tokens), which the other "
        "methods are not given",
    ),
    Card(
        name="arrow",
        title="Arrow",
        family="mixture",
        peft_type="LORA",
        variant_of="lora",
        summary="Routes each token to some of several LoRA adapters that were trained before.",
        paper=Paper(
            title="Towards Modular LLMs by Building and Reusing a Library of LoRAs",
            arxiv="2405.11157",
            year=2024,
        ),
        refused="combines LoRA adapters trained elsewhere; there is nothing of its own to train",
    ),
)
