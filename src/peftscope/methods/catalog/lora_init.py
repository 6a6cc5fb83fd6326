"""LoRA started from somewhere else: variants that differ in the initialisation alone."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.lora import LORA_KNOBS, LORA_PAPER, LORA_RATE

__all__ = ["CARDS"]

CARDS: tuple[Card, ...] = (
    Card(
        name="lora-gaussian",
        title="LoRA (Gaussian start)",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="LoRA whose first matrix starts from a normal distribution scaled by the rank, as "
        "diffusers uses it.",
        paper=LORA_PAPER,
        config={"init_lora_weights": "gaussian"},
        knobs=LORA_KNOBS,
        rate=LORA_RATE,
        quantized=("int8", "nf4"),
    ),
    Card(
        name="lora-orthogonal",
        title="LoRA (orthogonal start)",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Starts both LoRA matrices away from zero, in subspaces orthogonal to each other, so that "
        "their product is zero.",
        paper=None,
        config={"init_lora_weights": "orthogonal"},
        knobs=LORA_KNOBS,
        rate=LORA_RATE,
        limits=("the rank must be even", "linear layers only"),
    ),
    Card(
        name="pissa",
        title="PiSSA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Trains the leading singular components of each weight as the LoRA matrices and freezes "
        "the rest.",
        paper=Paper(
            title="PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models",
            arxiv="2404.02948",
            year=2024,
        ),
        config={"init_lora_weights": "pissa"},
        knobs=LORA_KNOBS,
        rate=LORA_RATE,
        needs=("an SVD of each adapted weight",),
        limits=("the best learning rate is lower than LoRA's (arXiv 2602.04998)",),
        changes_base=True,
    ),
    Card(
        name="olora",
        title="OLoRA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Starts the LoRA matrices from the QR decomposition of each weight and takes them out of it.",
        paper=Paper(
            title="OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models",
            arxiv="2406.01775",
            year=2024,
        ),
        config={"init_lora_weights": "olora"},
        knobs=LORA_KNOBS,
        rate=LORA_RATE,
        needs=("a QR decomposition of each adapted weight",),
        limits=("no Conv1D layers",),
        changes_base=True,
    ),
    Card(
        name="eva",
        title="EVA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Starts from the directions in which the training data vary most at each layer's input, "
        "and shares the ranks out between layers accordingly.",
        paper=Paper(
            title="Parameter Efficient Fine-tuning via Explained Variance Adaptation",
            arxiv="2410.07170",
            year=2024,
        ),
        config={"init_lora_weights": "eva"},
        knobs={**LORA_KNOBS, "eva_config": {"rho": 2.0, "tau": 0.99, "use_label_mask": True}},
        rate=LORA_RATE,
        init="eva",
        needs=("batches of training data before the first step",),
        limits=("every batch used needs as many labelled tokens as rank times rho",),
        quantized=("int8", "nf4"),
    ),
    Card(
        name="corda",
        title="CorDA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Decomposes each weight in the light of the covariance of its inputs on the training data "
        "and trains the leading components.",
        paper=Paper(
            title="CorDA: Context-Oriented Decomposition Adaptation of Large Language Models for Task-Aware "
            "Parameter-Efficient Fine-tuning",
            arxiv="2406.05223",
            year=2024,
        ),
        config={"init_lora_weights": "corda"},
        knobs={**LORA_KNOBS, "corda_config": {"corda_method": "ipm"}},
        rate=LORA_RATE,
        init="corda",
        needs=("batches of training data before the first step", "a covariance matrix and an SVD per layer"),
        changes_base=True,
    ),
    Card(
        name="lora-ga",
        title="LoRA-GA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Starts the LoRA matrices along the leading directions of the full gradient on the "
        "training data.",
        paper=Paper(
            title="LoRA-GA: Low-Rank Adaptation with Gradient Approximation",
            arxiv="2407.05000",
            year=2024,
        ),
        config={"init_lora_weights": "lora_ga"},
        knobs={**LORA_KNOBS, "lora_ga_config": {"direction": "ArB2r", "scale": "stable", "stable_gamma": 16}},
        rate=LORA_RATE,
        init="lora-ga",
        needs=(
            "labelled batches of training data before the first step",
            "a gradient of every adapted weight",
        ),
        limits=("twice the rank must fit the smallest side of every adapted weight",),
        changes_base=True,
    ),
    Card(
        name="mica",
        title="MiCA",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Fixes one LoRA matrix to the directions each weight uses least and trains only the "
        "other, from zero.",
        paper=Paper(title="Minor Component Adaptation", arxiv="2604.01694", year=2026),
        config={"init_lora_weights": "mica"},
        knobs=LORA_KNOBS,
        rate=LORA_RATE,
        needs=("an SVD of each adapted weight",),
        limits=("the rank must not exceed the smallest side of any adapted weight",),
    ),
    Card(
        name="loftq",
        title="LoftQ",
        family="low-rank",
        peft_type="LORA",
        variant_of="lora",
        summary="Quantizes each weight and starts LoRA so that it makes up for what the quantization lost.",
        paper=Paper(
            title="LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language Models",
            arxiv="2310.08659",
            year=2023,
        ),
        config={"init_lora_weights": "loftq"},
        knobs=LORA_KNOBS,
        refused="replaces the base by a quantized imitation while it is built (on CUDA or XPU only), so "
        "it would not start from the base the others start from",
        changes_base=True,
    ),
)
