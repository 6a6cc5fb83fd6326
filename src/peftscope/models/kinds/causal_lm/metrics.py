"""What inference with a causal language model costs. No torch."""

from __future__ import annotations

from peftscope.schema.metric import MetricSpec

__all__ = ["DECODING", "LATENCY_BATCHES"]

LATENCY_BATCHES = (1, 8)
HEADINGS = {"adapter": "decode", "merged": "merged"}

DECODING = tuple(
    MetricSpec(
        name=f"decode_latency_{form}_b{batch}_s",
        unit="s",
        direction="lower",
        repeats=False,
        window=f"median decode step at batch {batch} after warm-up, {form}",
        label="decoding step" if batch == 1 else "",
        heading=heading if batch == 1 else "",
        group="cost",
        protocol="cost",
        limit="latency" if batch == 1 else None,
        kinds=("causal-lm",),
        setting="measure.latency: true",
    )
    for form, heading in HEADINGS.items()
    for batch in LATENCY_BATCHES
)
