"""Methods that train a small set of single weight entries."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.rates import chosen, published

__all__ = ["CARDS"]

SUPER = Paper(
    title="Super-Tuning",
    arxiv="2607.09287",
    year=2026,
)

CARDS: tuple[Card, ...] = (
    Card(
        name="shira",
        title="SHiRA",
        family="sparse",
        peft_type="SHIRA",
        summary="Trains a random small share of each weight's entries and leaves the rest.",
        paper=Paper(title="Sparse High Rank Adapters", arxiv="2406.13175", year=2024),
        config={"mask_type": "random"},
        knobs={"r": 32},
        rate=published("MetaMathQA/shira/llama-3.2-3B-lr_0.0003-random_seed_42", 3e-4, 3e-5, 3e-3),
        limits=(
            "r sets how many entries are trained, r × (inputs + outputs); there must be that many",
            "builds the whole changed weight in every forward pass",
        ),
    ),
    Card(
        name="super-tuning",
        title="Super-Tuning",
        family="sparse",
        peft_type="SUPERTUNING",
        summary="Trains the entries of largest magnitude of each weight and leaves the rest.",
        paper=SUPER,
        config={"r": None, "select_top": True},
        knobs={"sparsity": 0.99},
        rate=chosen(3e-4, 3e-5, 3e-3, "the rate of the published run of SHiRA, which trains single entries too"),
        limits=("builds the whole changed weight in every forward pass",),
    ),
    Card(
        name="super-tuning-bottom",
        title="Super-Tuning, smallest entries",
        family="sparse",
        peft_type="SUPERTUNING",
        variant_of="super-tuning",
        summary="Super-Tuning on the entries of smallest magnitude instead.",
        paper=SUPER,
        config={"r": None, "select_top": False},
        knobs={"sparsity": 0.99},
        rate=chosen(3e-4, 3e-5, 3e-3, "the rate of the published run of SHiRA, which trains single entries too"),
        limits=("builds the whole changed weight in every forward pass",),
    ),
    Card(
        name="supra",
        title="Supra",
        family="sparse",
        peft_type="SUPERTUNING",
        variant_of="super-tuning",
        summary="Super-Tuning with a low-rank adapter beside the trained entries.",
        paper=SUPER,
        config={"select_top": True},
        knobs={"sparsity": 0.99, "r": 8, "lora_alpha": 16, "lora_dropout": 0.0},
        rate=chosen(3e-4, 3e-5, 3e-3, "as super-tuning; between the published rates of LoRA and SHiRA"),
        limits=("builds the whole changed weight in every forward pass",),
    ),
)
