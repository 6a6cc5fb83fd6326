"""Small models of text: decoders, a classifier, an encoder with a decoder, experts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from peftscope.models.builtin import fetch_builtin
from peftscope.models.kinds.base import Batch
from peftscope.models.kinds.causal_lm.inputs import TextInputs
from peftscope.models.kinds.causal_lm.kind import CausalLM
from peftscope.models.miniatures.base import Miniature, RowInputs, seeded
from peftscope.models.quantization import keep_trainable, quantization_config

__all__ = ["WORDS", "causal", "classifier", "encoder_decoder", "experts", "of_text"]

LENGTH = 16
WORDS = 1280
"""Of the tokenizer that comes with peftscope."""
SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


def text_batch(seed: int, rows: int, *, words: int, labels: int | None = None, with_decoder: bool = False) -> Batch:
    """Random tokens between a first and a last; next tokens to be told, or one of so many classes."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, words, (rows, LENGTH), generator=draw)
    ids[:, 0], ids[:, -1] = 0, 1
    wanted = ids.clone() if labels is None else torch.randint(0, labels, (rows,), generator=draw)
    found = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": wanted}
    return {**found, "decoder_input_ids": ids.roll(1, 1)} if with_decoder else found


@cache
def _tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(str(fetch_builtin("builtin:nano-lm")))


def of_text(name: str, capability: str, make: Callable[[], nn.Module], **more: Any) -> Miniature:
    """A miniature of a model that reads tokens; what it needs beside is seen from the model."""
    made = seeded(make)
    model: Any = made()
    config = model.config.get_text_config()
    words = int(config.vocab_size)
    is_seq2seq = bool(getattr(model.config, "is_encoder_decoder", False))
    classes = int(model.config.num_labels) if "Classification" in type(model).__name__ else None
    is_causal = classes is None and not is_seq2seq
    processor = _tokenizer() if words >= WORDS else None
    task_type = "SEQ_CLS" if classes is not None else "SEQ_2_SEQ_LM" if is_seq2seq else "CAUSAL_LM"
    first = text_batch(1, 1, words=words)["input_ids"][0]
    settings: dict[str, Any] = {
        "tokens": (int(first[3]), int(first[4])),
        "task_type": task_type,
        "processor": processor,
        "inputs": TextInputs(processor) if is_causal and processor is not None else RowInputs(),
        "head": _name_of(model, model.get_output_embeddings()) or _head(model),
        "table": _name_of(model, model.get_input_embeddings()),
        "kind": CausalLM() if is_causal else None,
        "quantized": partial(_quantized, made),
    }
    return Miniature(
        name=name,
        capability=capability,
        make=made,
        batch=partial(text_batch, words=words, labels=classes, with_decoder=is_seq2seq),
        **{**settings, **more},
    )


def _name_of(model: nn.Module, wanted: nn.Module | None) -> str | None:
    found = (name for name, module in model.named_modules() if wanted is not None and module is wanted)
    return next(found, None)


def _head(model: nn.Module) -> str | None:
    return next((name for name in ("classifier", "score") if hasattr(model, name)), None)


def _quantized(made: Callable[[], nn.Module], how: str, folder: Path) -> nn.Module:
    model: Any = made()
    model.save_pretrained(str(folder))
    if how == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        config: Any = transformers.TorchAoConfig(Int8WeightOnlyConfig())
    else:
        config = quantization_config("int8" if how == "int8" else "nf4", torch.float32)
    packed = type(model).from_pretrained(str(folder), quantization_config=config, dtype=torch.float32)
    packed.config.use_cache = False
    packed.requires_grad_(False)
    keep_trainable(packed)
    assert isinstance(packed, nn.Module)
    return packed.eval()


def _llama() -> nn.Module:
    model: nn.Module = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_key_value_heads=2))
    return model


def causal() -> Miniature:
    """A decoder with grouped attention, of two blocks."""
    return of_text("llama", "language-model", _llama)


def classifier() -> Miniature:
    """A BERT that sorts texts into three classes."""
    sizes = {**SIZES, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return of_text(
        "bert",
        "classifier",
        lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**sizes, num_labels=3)),
    )


def encoder_decoder() -> Miniature:
    """A T5 of two blocks on either side."""
    config = {
        "vocab_size": WORDS,
        "d_model": 256,
        "d_kv": 64,
        "d_ff": 512,
        "num_layers": 2,
        "num_heads": 4,
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
        "pad_token_id": 2,
        "eos_token_id": 1,
    }
    return of_text(
        "t5",
        "encoder-decoder",
        lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**config)),
    )


def experts() -> Miniature:
    """A Mixtral whose experts lie in one tensor; they are what is adapted."""

    def mixtral() -> nn.Module:
        config = transformers.MixtralConfig(**SIZES, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)
        model: nn.Module = transformers.MixtralForCausalLM(config)
        return model

    return of_text("mixtral", "experts", mixtral, targets=("experts",))
