"""How llama.cpp names and lays out the weights of a model: what a GGUF file that it loads has to hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gguf import MODEL_ARCH_NAMES, TensorNameMap, get_tensor_name_map
from torch import Tensor

from peftscope.errors import ModelError

__all__ = ["GgufLayout", "gguf_layout"]

ARCHITECTURES = {
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "gpt2": "gpt2",
    "llama": "llama",
    "mistral": "llama",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "starcoder2": "starcoder2",
}
"""llama.cpp's name of each model type that was seen to give the same outputs there with a LoRA of ours."""
INTERLEAVED = {"llama": ("attn_q", "attn_k")}
"""Weights whose rows lie by pairs there, the two halves of a head's rotation side by side."""
ONE_MORE = {"gemma", "gemma2", "gemma3"}
"""Architectures whose norms are stored with the one that is added to them."""


@dataclass(frozen=True)
class GgufLayout:
    """Of one model.

    Args:
        architecture: As llama.cpp calls it.
        num_blocks: Layers.
        num_heads: Of attention.
        num_key_value_heads: Of its keys and values.
        tied: Whether the output's weight is the input's embedding: then it is not there twice.
    """

    architecture: str
    num_blocks: int
    num_heads: int
    num_key_value_heads: int
    tied: bool = False

    @cached_property
    def _names(self) -> TensorNameMap:
        (architecture,) = (key for key, name in MODEL_ARCH_NAMES.items() if name == self.architecture)
        return get_tensor_name_map(architecture, self.num_blocks)

    def name(self, module: str) -> str | None:
        """Its name of a module, such as ``blk.0.attn_q``; None where it has none."""
        found: str | None = self._names.get_name(module)
        return found

    def without_factors(self, modules: Iterable[str]) -> list[str]:
        """Modules it has no place for a LoRA in: those it has no name for, and what input and output share."""
        shared = ("token_embd", "output") if self.tied else ()
        return [module for module in modules if self.name(module) in (None, *shared)]

    def stored(self, name: str, weight: Tensor) -> Tensor:
        """A weight (or a LoRA's factor of its rows) as the file holds it.

        Args:
            name: Its name there.
            weight: (out, …).
        """
        last = name.rpartition(".")[2]
        if self.architecture in ONE_MORE and last.endswith("norm"):
            return weight + 1
        if last not in INTERLEAVED.get(self.architecture, ()):
            return weight
        heads = self.num_heads if last == "attn_q" else self.num_key_value_heads
        halves = weight.reshape(heads, 2, len(weight) // heads // 2, *weight.shape[1:])
        return halves.transpose(1, 2).reshape(weight.shape)


def gguf_layout(config: Any) -> GgufLayout:
    """The layout of a model.

    Args:
        config: Its ``transformers`` config.

    Raises:
        ModelError: Its architecture is none whose outputs in llama.cpp were compared.
    """
    text = config.get_text_config()
    architecture = ARCHITECTURES.get(text.model_type)
    if architecture is None:
        raise ModelError(
            f"the format gguf is written for {', '.join(sorted(ARCHITECTURES))}, not for {text.model_type}; take the "
            "format peft or merged, and llama.cpp's own converters"
        )
    heads = text.num_attention_heads
    return GgufLayout(
        architecture=architecture,
        num_blocks=text.num_hidden_layers,
        num_heads=heads,
        num_key_value_heads=getattr(text, "num_key_value_heads", None) or heads,
        tied=bool(text.tie_word_embeddings),
    )
