"""Tiny models as GGUF files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from peftscope.models.gguf_layout import gguf_layout
from tiny import BOS, EOS, PAD

__all__ = ["VOCABULARY", "logprobs", "write_gguf"]


LETTERS = [chr(code) for code in range(33, 127)]
VOCABULARY = [BOS, EOS, PAD, *LETTERS, "ab", *(f"<{number}>" for number in range(162))]
"""Letters, and a pair of them, since a file without merges is not read; no bytes that are half a letter, since what
answers end in is held back by the server."""


def write_gguf(model: Any, path: Path, *, alignment: int | None = None) -> Path:
    """A model with a vocabulary of letters; tensors begin at multiples of an alignment."""
    config = model.config
    layout = gguf_layout(config)
    writer = gguf.GGUFWriter(path, layout.architecture)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_block_count(layout.num_blocks)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    inner = getattr(config, "n_inner", None) or getattr(config, "intermediate_size", None)
    writer.add_feed_forward_length(inner or 4 * config.hidden_size)
    writer.add_head_count(layout.num_heads)
    writer.add_head_count_kv(layout.num_key_value_heads)
    writer.add_vocab_size(len(VOCABULARY))
    head = getattr(config, "head_dim", None) or config.hidden_size // layout.num_heads
    if layout.architecture != "gpt2":
        writer.add_rope_dimension_count(head)
        writer.add_key_length(head)
        writer.add_value_length(head)
        writer.add_rope_freq_base((getattr(config, "rope_parameters", None) or {}).get("rope_theta", 10_000.0))
    for name, add in (
        ("rms_norm_eps", writer.add_layer_norm_rms_eps),
        ("layer_norm_epsilon", writer.add_layer_norm_eps),
        ("norm_epsilon", writer.add_layer_norm_eps),
    ):
        if hasattr(config, name):
            add(getattr(config, name))
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    if getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(VOCABULARY) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    seen: set[int] = set()
    modules = dict(model.named_modules())
    for full, weight in model.named_parameters():
        module, _, parameter = full.rpartition(".")
        name = layout.name(module)
        assert name is not None, full
        if id(weight) in seen:
            continue
        seen.add(id(weight))
        value = weight.detach().float()
        if isinstance(modules[module], Conv1D) and parameter == "weight":
            value = value.T
        writer.add_tensor(f"{name}.{parameter}", layout.stored(name, value).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@torch.no_grad()
def logprobs(model: nn.Module, prompt: Sequence[int]) -> torch.Tensor:
    """Log probabilities of the next token, by transformers."""
    wanted: torch.Tensor = model(input_ids=torch.tensor([list(prompt)])).logits[0, -1].log_softmax(-1)
    return wanted
