"""A tokenizer and a model that are built in milliseconds from nothing, for unit tests."""

from __future__ import annotations

from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["tiny_llama", "tiny_tokenizer"]

BOS, EOS, PAD = "<s>", "</s>", "<pad>"


def tiny_tokenizer(
    *,
    bos: bool = True,
    eos: bool = True,
    pad: Literal["none", "eos", "own"] = "none",
    padding_side: str = "left",
) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges: every text encodes, one token a byte.

    Args:
        bos: Whether it puts a BOS before every text, as Llama's does.
        eos: Whether it has an EOS.
        pad: Pad token: none, the EOS, or one of its own.
        padding_side: What it says on padding; nothing of ours may depend on it.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([BOS, EOS, PAD, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    if bos:
        core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, vocab[BOS])])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS if bos else None,
        eos_token=EOS if eos else None,
        pad_token={"none": None, "eos": EOS, "own": PAD}[pad],
        padding_side=padding_side,
    )


def tiny_llama(seed: int = 0, **overrides: Any) -> LlamaForCausalLM:
    """A Llama of 2 layers and width 64 with the vocabulary of ``tiny_tokenizer``; a seed gives its weights.

    Args:
        seed: Of the weights; the global random state is left as it was.
        **overrides: Fields of ``LlamaConfig``.
    """
    settings: dict[str, Any] = {
        "vocab_size": 259,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**{**settings, **overrides})).eval()
