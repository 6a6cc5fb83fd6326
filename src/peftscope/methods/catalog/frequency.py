"""Methods that learn a weight change by its coefficients in another basis: Fourier, wavelet, circulant."""

from __future__ import annotations

from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog.rates import chosen, published

__all__ = ["CARDS"]

CARDS: tuple[Card, ...] = (
    Card(
        name="fourierft",
        title="FourierFT",
        family="frequency",
        peft_type="FOURIERFT",
        summary="Learns a few entries of the two-dimensional Fourier spectrum of the weight change.",
        paper=Paper(
            title="Parameter-Efficient Fine-Tuning with Discrete Fourier Transform",
            arxiv="2405.03003",
            year=2024,
        ),
        knobs={"n_frequency": 2000, "scaling": 300.0, "init_weights": True},
        rate=chosen(
            3e-3,
            1e-4,
            1e-1,
            "the two published runs at 1e-4 ended at an accuracy of 0.00 and 0.12, below the untouched base",
            "from the published rate, which learned too little, three decades upwards",
        ),
        limits=(
            "n_frequency must not exceed the number of entries of any adapted weight",
            "every forward pass transforms a matrix of the weight's size: slow and memory-hungry",
            "starts from zero here, which is the base; the published runs started from random coefficients",
        ),
    ),
    Card(
        name="waveft",
        title="WaveFT",
        family="frequency",
        peft_type="WAVEFT",
        summary="Learns a few wavelet coefficients of the weight change, chosen at random.",
        paper=Paper(
            title="Exploring Sparsity for Parameter Efficient Fine Tuning Using Wavelets",
            arxiv="2505.12532",
            year=2025,
        ),
        knobs={
            "n_frequency": 2000,
            "scaling": 25.0,
            "wavelet_family": "db1",
            "use_idwt": True,
            "proportional_parameters": False,
        },
        rate=published("MetaMathQA/waveft/llama-3.2-3B-n_frequency-5000", 1e-4, 1e-5, 1e-2),
        limits=("n_frequency must not exceed the number of entries of any adapted weight",),
    ),
    Card(
        name="c3a",
        title="C³A",
        family="frequency",
        peft_type="C3A",
        summary="Adds a matrix of circulant blocks, which acts by convolution and can have full rank.",
        paper=Paper(title="Parameter-Efficient Fine-Tuning via Circular Convolution", arxiv="2407.19342", year=2024),
        knobs={"block_size": 64, "init_weights": "xavier_uniform"},
        rate=published("MetaMathQA/c3a/llama-3.2-3B-default", 3e-1, 3e-2, 1.0),
        limits=(
            "the block size must divide both sides of every adapted layer",
            "needs a rate of about 0.1 to 0.3 and next to no weight decay (published: 1e-5)",
            "starts from random blocks, so the start is not exactly the base",
        ),
    ),
)
