"""Methods that rotate weights or activations instead of adding to them."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.rates import chosen, published

__all__ = ["CARDS"]

OFT = Paper(title="Controlling Text-to-Image Diffusion by Orthogonal Finetuning", arxiv="2306.07280", year=2023)
PSOFT = Paper(
    title="Efficient Orthogonal Fine-Tuning with Principal Subspace Adaptation", arxiv="2505.11235", year=2025
)
ROAD = Paper(title="3-in-1: 2D Rotary Adaptation for Efficient Finetuning", arxiv="2409.00119", year=2024)

BLOCKS = "the block size must divide the width of what goes into every adapted layer"
RANK_FITS = "the rank must not exceed the smaller side of any adapted layer"
GROUPS = "the group size must divide the output width of every adapted layer"
FEW_WEIGHTS = "a decade below to two above: few trained weights, and what else trains few gained from more"

CARDS: tuple[Card, ...] = (
    Card(
        name="oft",
        title="OFT",
        family="orthogonal",
        peft_type="OFT",
        summary="Turns the inputs of a layer by a block-diagonal orthogonal matrix.",
        paper=OFT,
        config={"coft": False},
        knobs={"r": 0, "oft_block_size": 32, "module_dropout": 0.0, "block_share": False},
        rate=published("MetaMathQA/oft/llama-3.2-3B-rank32", 1e-4, 1e-5, 1e-3),
        limits=(BLOCKS,),
    ),
    Card(
        name="coft",
        title="COFT (constrained OFT)",
        family="orthogonal",
        peft_type="OFT",
        variant_of="oft",
        summary="OFT that keeps its rotation within a small distance of the identity.",
        paper=OFT,
        config={"coft": True},
        knobs={"r": 0, "oft_block_size": 32, "eps": 6e-5, "module_dropout": 0.0, "block_share": False},
        rate=chosen(1e-4, 1e-5, 1e-3, "the rate of the published run of OFT"),
        limits=(BLOCKS, "eps bounds what can be learned: at 6e-5 the rotation stays very small"),
    ),
    Card(
        name="boft",
        title="BOFT",
        family="orthogonal",
        peft_type="BOFT",
        summary="OFT with its rotation written as a product of sparse butterfly factors.",
        paper=Paper(
            title="Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization",
            arxiv="2311.06243",
            year=2023,
        ),
        knobs={"boft_block_size": 4, "boft_block_num": 0, "boft_n_butterfly_factor": 1, "boft_dropout": 0.0},
        rate=published("MetaMathQA/boft/llama-3.2-3B-default", 1e-4, 1e-5, 1e-2, FEW_WEIGHTS),
        limits=(BLOCKS, "slow and memory-hungry: it builds the whole rotation matrix in every forward pass"),
    ),
    Card(
        name="hra",
        title="HRA",
        family="orthogonal",
        peft_type="HRA",
        summary="Adapts a weight by a chain of Householder reflections, each given by one trained vector.",
        paper=Paper(
            title="Bridging The Gap between Low-rank and Orthogonal Adaptation via Householder Reflection Adaptation",
            arxiv="2405.17484",
            year=2024,
        ),
        knobs={"r": 8, "apply_GS": False},
        rate=published("image-gen/hra/flux2-klein-default", 1e-4, 1e-5, 1e-3),
        limits=(
            "reflections are made in pairs that cancel at the start, so the rank must be even",
            "the reflections run one after another: at rank 32 a step takes many times as long as with LoRA",
        ),
    ),
    Card(
        name="psoft",
        title="PSOFT",
        family="orthogonal",
        peft_type="PSOFT",
        summary="Rotates a layer within the space of its leading singular vectors.",
        paper=PSOFT,
        config={"psoft_svd": "full", "use_cayley_neumann": False},
        knobs={
            "r": 32,
            "psoft_alpha": 32,
            "psoft_dropout": 0.0,
            "ab_svd_init": "psoft_init",
            "psoft_orth": True,
            "psoft_mag_a": True,
            "psoft_mag_b": True,
        },
        rate=published("MetaMathQA/psoft/llama-3.2-3B-default", 1e-4, 1e-5, 1e-2, FEW_WEIGHTS),
        needs=("a singular value decomposition of every adapted layer at the start",),
        limits=(RANK_FITS,),
    ),
    Card(
        name="psoft-fast",
        title="PSOFT (fast)",
        family="orthogonal",
        peft_type="PSOFT",
        variant_of="psoft",
        summary="PSOFT with a randomised decomposition at the start and a power series for the rotation.",
        paper=PSOFT,
        config={"psoft_svd": "lowrank", "use_cayley_neumann": True},
        knobs={
            "r": 32,
            "psoft_alpha": 32,
            "psoft_dropout": 0.0,
            "psoft_svd_lowrank_niter": 10,
            "num_cayley_neumann_terms": 5,
            "psoft_orth": True,
            "psoft_mag_a": True,
            "psoft_mag_b": True,
        },
        rate=published("MetaMathQA/psoft/llama-3.2-3B-fast", 1e-4, 1e-5, 1e-2, FEW_WEIGHTS),
        limits=(RANK_FITS, "the rotation is only nearly orthogonal"),
    ),
    Card(
        name="road",
        title="RoAd",
        family="orthogonal",
        peft_type="ROAD",
        summary="Rotates and scales pairs of a layer's outputs, with one angle and one scale a pair.",
        paper=ROAD,
        config={"variant": "road_1"},
        knobs={"group_size": 32},
        rate=published("image-gen/road/flux2-klein-default", 1e-3, 1e-4, 1e-2),
        limits=(GROUPS,),
    ),
    Card(
        name="road-2",
        title="RoAd-2",
        family="orthogonal",
        peft_type="ROAD",
        variant_of="road",
        summary="RoAd with an angle and a scale for each output: twice the weights.",
        paper=ROAD,
        config={"variant": "road_2"},
        knobs={"group_size": 32},
        rate=published("MetaMathQA/road/llama-3.2-3B-lr_0.001", 1e-3, 1e-4, 1e-2),
        limits=(GROUPS,),
    ),
    Card(
        name="road-4",
        title="RoAd-4",
        family="orthogonal",
        peft_type="ROAD",
        variant_of="road",
        summary="RoAd with two angles and two scales for each output: four times the weights.",
        paper=ROAD,
        config={"variant": "road_4"},
        knobs={"group_size": 32},
        rate=chosen(1e-3, 1e-4, 1e-2, "the rate of the published runs of RoAd and RoAd-2"),
        limits=(GROUPS,),
    ),
)
