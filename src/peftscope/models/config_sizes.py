"""Settings of a model's config that no model has: sizes that would take hours or all memory to lay out, and code.

They are looked for before a library reads the config, since some lay out a list for every block while they read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from peftscope.errors import ModelError, brief

__all__ = ["refuse_absurd"]

MOST_DEPTH = 30
MOST: tuple[tuple[str, int], ...] = (
    (r"(\w+_)?(n|num)_(\w+_)?(layers?|blocks?)|(encoder_|decoder_)?layers|layers_per_block|depth", 2_000),
    (r"(\w+_)?(n|num)_(\w+_)?experts", 10_000),
    (r"(\w+_)?(n|num)_(\w+_)?(heads?|groups?)", 100_000),
    (r"num_labels", 1_000_000),
    (r"(\w+_)?(hidden|embedding|embed|model|head|state|conv|attention|channels?)_(size|dim)", 10**6),
    (r"d_model|n_embd|(in|out)_channels|\w+_rank", 10**6),
    (r"(\w+_)?intermediate_size|ffn_dim|d_ff|n_inner|dim_feedforward", 10**7),
    (r"(\w+_)?vocab_size|max_position_embeddings|n_positions|n_ctx|max_seq_len|max_sequence_length|image_size", 10**8),
)
"""Names of sizes, and the numbers beyond which a config is taken for a mistake."""
MOST_MODULES = 200_000
"""Blocks times experts: as many as fifty of the largest models have."""
SIZES = tuple((re.compile(names), most) for names, most in MOST)
BLOCKS, EXPERTS = SIZES[0][0], SIZES[1][0]
KERNEL = "attn_implementation", "experts_implementation"
LONGEST_NAME = 100
"""Characters; what is longer names no size."""


def refuse_absurd(source: str, settings: Mapping[str, Any]) -> None:
    """Refuse sizes that no model has, and a kernel from the hub, which would be code to run.

    Args:
        source: Whose settings they are, as the user wrote it.
        settings: As ``config.json`` has them, those of parts within.

    Raises:
        ModelError: They have.
    """
    blocks = experts = 1.0
    for name, value in _within(source, settings):
        kernel = next((text for text in _texts(value) if "/" in text), None) if name.endswith(KERNEL) else None
        if kernel is not None:
            raise ModelError(
                f"model.source: {source!r}: {name} asks for code from the hub ({brief(kernel, 60)}); it is not run here"
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or len(name) > LONGEST_NAME:
            continue
        most = next((most for names, most in SIZES if names.fullmatch(name)), None)
        if most is None:
            continue
        if not 0 <= value <= most:
            raise ModelError(f"model.source: {source!r}: {name} is {value:,}; models have from 0 to {most:,}")
        blocks = max(blocks, value if BLOCKS.fullmatch(name) else 0)
        experts = max(experts, value if EXPERTS.fullmatch(name) else 0)
    if blocks * experts > MOST_MODULES:
        raise ModelError(
            f"model.source: {source!r}: {blocks:,.0f} blocks of {experts:,.0f} experts; no model has so many"
        )


def _texts(value: Any) -> Iterator[str]:
    """Texts in a value, at any depth: libraries take a mapping from parts of a model to names, too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _within(source: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Names and values of settings, of those within them, too."""
    if depth > MOST_DEPTH:
        raise ModelError(f"model.source: {source!r} is nested more than {MOST_DEPTH} deep; no model's config is")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name), inner
            yield from _within(source, inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, Mapping | list):
                yield from _within(source, inner, depth + 1)
