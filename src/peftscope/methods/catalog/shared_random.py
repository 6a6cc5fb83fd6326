"""Methods that train few numbers through projections that are fixed, random or shared between layers."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.rates import chosen, documented, published

__all__ = ["CARDS"]

TINYLORA = Paper(title="Learning to Reason in 13 Parameters", arxiv="2602.04118", year=2026)

PROJECTIONS_SAVED = "the checkpoint holds the fixed projections too; save_projection=False leaves them out"

CARDS: tuple[Card, ...] = (
    Card(
        name="vera",
        title="VeRA",
        family="shared-random",
        peft_type="VERA",
        summary="Two random matrices serve all layers; each layer learns two vectors that scale them.",
        paper=Paper(title="VeRA: Vector-based Random Matrix Adaptation", arxiv="2310.11454", year=2023),
        knobs={
            "r": 256,
            "d_initial": 0.1,
            "vera_dropout": 0.0,
            "save_projection": True,
        },
        rate=published("MetaMathQA/vera/llama-3.2-3B-default", 1e-3, 1e-4, 1e-2),
        limits=(PROJECTIONS_SAVED,),
    ),
    Card(
        name="pvera",
        title="PVeRA",
        family="shared-random",
        peft_type="PVERA",
        summary="VeRA whose inner activations are drawn from a learned distribution while training.",
        paper=Paper(title="PVeRA: Probabilistic Vector-Based Random Matrix Adaptation", arxiv="2512.07703", year=2025),
        knobs={
            "r": 256,
            "d_initial": 0.1,
            "pvera_dropout": 0.0,
            "save_projection": True,
            "sample_at_inference": False,
        },
        rate=published("MetaMathQA/pvera/llama-3.2-3B-default", 3e-3, 3e-4, 3e-2),
        limits=(PROJECTIONS_SAVED, "sample_at_inference makes scores random"),
    ),
    Card(
        name="randlora",
        title="RandLoRA",
        family="shared-random",
        peft_type="RANDLORA",
        summary="Sums many random low-rank matrices with learned scales, which together reach full rank.",
        paper=Paper(
            title="RandLoRA: Full-rank parameter-efficient fine-tuning of large models",
            arxiv="2502.00987",
            year=2025,
        ),
        knobs={
            "r": 32,
            "randlora_alpha": 640,
            "randlora_dropout": 0.0,
            "save_projection": True,
            "sparse": False,
            "very_sparse": False,
        },
        rate=published("MetaMathQA/randlora/llama-3.2-3B-default", 1e-4, 1e-5, 1e-3),
        limits=(PROJECTIONS_SAVED, "a smaller rank means more bases, and so more trained weights"),
    ),
    Card(
        name="vblora",
        title="VB-LoRA",
        family="shared-random",
        peft_type="VBLORA",
        summary="Puts LoRA's factors together from a bank of vectors that all layers share.",
        paper=Paper(
            title="VB-LoRA: Extreme Parameter Efficient Fine-Tuning with Vector Banks",
            arxiv="2405.15179",
            year=2024,
        ),
        knobs={
            "r": 4,
            "num_vectors": 256,
            "vector_length": 64,
            "topk": 2,
            "vblora_dropout": 0.0,
            "init_vector_bank_bound": 0.02,
            "init_logits_std": 0.1,
        },
        rate=documented(
            "docs/source/package_reference/vblora.md (1e-3 for the bank, 1e-2 for the logits; one rate here)",
            1e-3,
            1e-4,
            1e-2,
            "from the rate of the published run (1e-4) to the one documented for the logits",
        ),
        limits=("the vector length must divide both sides of every adapted layer",),
    ),
    Card(
        name="unilora",
        title="Uni-LoRA",
        family="shared-random",
        peft_type="UNILORA",
        summary="Every entry of LoRA's factors in all layers is a fixed random pick from one trained vector.",
        paper=Paper(title="Uni-LoRA: One Vector is All You Need", arxiv="2506.00799", year=2025),
        knobs={
            "r": 4,
            "theta_d_length": 8192,
            "unilora_dropout": 0.0,
            "init_theta_d_bound": 0.02,
        },
        rate=chosen(1e-3, 1e-4, 1e-2, "no run is published; the rate of VeRA and VB-LoRA, which share too"),
        limits=("with a theta_d longer than LoRA's factors together, some of it is never used",),
    ),
    Card(
        name="tinylora",
        title="TinyLoRA",
        family="shared-random",
        peft_type="TINYLORA",
        summary="Moves a weight in its leading singular directions by a tiny, randomly projected vector.",
        paper=TINYLORA,
        config={"weight_tying": 0.0},
        knobs={"r": 2, "u": 64, "tinylora_dropout": 0.0, "init_v_bound": 0.02},
        rate=chosen(
            1e-2,
            1e-4,
            1e-1,
            "the published run at 1e-3 ended at an accuracy of 0.01",
            "a decade below the published rate, which learned nothing, to two above",
        ),
        needs=("a singular value decomposition of every adapted layer at the start",),
        limits=("made for reinforcement learning; supervised training hardly moves it",),
    ),
    Card(
        name="tinylora-tied",
        title="TinyLoRA (tied weights)",
        family="shared-random",
        peft_type="TINYLORA",
        variant_of="tinylora",
        summary="TinyLoRA with one vector for the whole model: as few numbers as you like.",
        paper=TINYLORA,
        config={"weight_tying": 1.0},
        knobs={"r": 2, "u": 64, "tinylora_dropout": 0.0, "init_v_bound": 0.02},
        rate=chosen(
            1e-2,
            1e-4,
            1e-1,
            "the published run at 1e-3 ended at an accuracy of 0.00",
            "a decade below the published rate, which learned nothing, to two above",
        ),
        needs=("a singular value decomposition of every adapted layer at the start",),
        limits=("made for reinforcement learning; supervised training hardly moves it",),
    ),
    Card(
        name="frod",
        title="FRoD",
        family="shared-random",
        peft_type="FROD",
        summary="Turns layers within a basis they share, by a diagonal and a sparse random set of entries.",
        paper=Paper(
            title="FRoD: Full-Rank Efficient Fine-Tuning with Rotational Degrees for Fast Convergence",
            arxiv="2512.23485",
            year=2025,
        ),
        config={"progressbar": False},
        knobs={
            "sparse_rate": 0.01,
            "regularization_alpha": 1e-3,
            "frod_dropout": 0.0,
            "save_projection": True,
        },
        rate=chosen(1e-4, 1e-5, 1e-2, "no run is published; LoRA's published rate, with a decade more above"),
        needs=("matrix decompositions over all layers of a kind at the start",),
        limits=(PROJECTIONS_SAVED, "slow to set up on large models"),
    ),
)
