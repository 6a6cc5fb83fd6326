"""Causal language models by their shapes alone."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from peftscope.methods.coverage import fused_experts
from peftscope.models.kinds.base import Batch, ModelProfile
from peftscope.models.kinds.causal_lm.decoding.packing import counted_copies
from peftscope.models.kinds.causal_lm.empty import empty_model
from peftscope.models.kinds.causal_lm.loss import causal_lm_loss, try_label_losses
from peftscope.models.published import published_format

__all__ = ["CausalLMProfile"]

CACHES = ("past_key_values", "cache_params")
"""What models call what they keep of the tokens before."""


@dataclass(frozen=True, kw_only=True)
class CausalLMProfile(ModelProfile):
    """A causal language model; ``length`` is in tokens."""

    config: Any
    """As transformers holds it."""
    dtype: torch.dtype
    attn_implementation: str | None = None
    quantization: Literal["nf4", "int8"] | None = None
    num_times: float = 1.0
    """How many times as many blocks the model has that this one stands for."""

    task_type = "CAUSAL_LM"
    unit = "tokens"

    @property
    def output_width(self) -> int | None:  # type: ignore[override]
        """Width of the logits."""
        return int(self.config.get_text_config().vocab_size)

    @property
    def num_layers(self) -> int | None:
        """Decoder blocks."""
        count = getattr(self.config.get_text_config(), "num_hidden_layers", None)
        return count if isinstance(count, int) else None

    @property
    def period(self) -> int:
        """From the config's lists with an entry for each block (kinds of attention, …)."""
        kinds = list(zip(*_of_layers(self.config.get_text_config()).values(), strict=True))
        return next((p for p in range(1, len(kinds)) if kinds[p:] == kinds[:-p]), max(1, len(kinds)))

    def with_layers(self, count: int) -> CausalLMProfile:
        """The first blocks alone."""
        config = copy.deepcopy(self.config)
        text = config.get_text_config()
        for name, kinds in _of_layers(text).items():
            setattr(text, name, kinds[:count])
        num_times = self.num_times * (self.num_layers or count) / count
        text.num_hidden_layers = count
        return replace(self, config=config, num_times=num_times)

    def described(self) -> str:
        """Kind of model and type of its weights."""
        dtype = str(self.dtype).removeprefix("torch.")
        packed = "" if self.quantization is None else f"{self.quantization}, "
        return f"{self.config.model_type}, {packed}{dtype}"

    @property
    def max_length(self) -> int | None:  # type: ignore[override]
        """Positions."""
        positions = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return positions if isinstance(positions, int) else None

    def quantized(self, kind: Literal["nf4", "int8"]) -> CausalLMProfile | None:
        """Packed by bitsandbytes."""
        is_packed = self.quantization is not None or published_format(self.config) is not None
        return None if is_packed else replace(self, quantization=kind)

    def notes(self) -> list[str]:
        """Of a checkpoint that is published quantized, what its weights take packed and unpacked; of one that
        bitsandbytes packs, what it leaves as it is; of one with code of its own, that it is not run.
        """
        own = f"the config names code of its own, which is not run: counted on transformers' {self.config.model_type}"
        return [*([own] if getattr(self.config, "auto_map", None) else []), *self._packing()]

    def _packing(self) -> list[str]:
        form = published_format(self.config)
        if self.quantization is not None:
            base = replace(self, quantization=None).base()
            sizes = dict(base.named_parameters())
            left = sum(sizes[name].numel() * sizes[name].element_size() for name in fused_experts(base))
            told = f"{self.quantization}: bitsandbytes packs no experts whose weights are fused; {left / 1e9:.1f} GB"
            return [f"{told} of them stay as they are"] if left else []
        if form is None:
            return []
        model = replace(self, quantization=None).base()
        unpacked = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        packed = form.packed_bytes(model)
        dtype = str(self.dtype).removeprefix("torch.")
        told = f"published in {form.name}: counted with weights unpacked to {dtype}, {unpacked / 1e9:.1f} GB"
        if packed is None:
            return [f"{told}; what they take packed, its config does not tell"]
        less = (unpacked - packed) / 1e9
        return [f"{told}; packed as published they take {packed / 1e9:.1f} GB, and peaks are about {less:.1f} GB lower"]

    def base(self) -> nn.Module:
        """The model of the config, as ``models.kinds`` would prepare it."""
        model: nn.Module = empty_model(
            self.config,
            dtype=self.dtype,
            attn_implementation=self.attn_implementation,
            quantization=self.quantization,
        )
        return model

    def batch(self, batch_size: int, length: int) -> Batch:
        """Token ids, mask and labels, each of shape (batch_size, length)."""
        ids = torch.empty(batch_size, length, dtype=torch.long, device="meta")
        return {"input_ids": ids, "attention_mask": torch.empty_like(ids), "labels": torch.empty_like(ids)}

    def unmet_memory_setting(self, model: nn.Module) -> str | None:
        """Whether there is a head that can be used by itself."""
        return try_label_losses(model)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The loss of every language task."""
        return causal_lm_loss(model, batch)

    def as_scored(self, model: nn.Module) -> AbstractContextManager[None]:
        """On a CPU with packed weights."""
        return counted_copies(model, num_times=self.num_times)

    def score(self, model: nn.Module, batch_size: int, length: int) -> None:
        """The longest prompt, and the last token of an answer behind a full cache."""
        with self.as_scored(model):
            self._read_and_answer(model, batch_size, length)

    def _read_and_answer(self, model: nn.Module, batch_size: int, length: int) -> None:
        ids = torch.empty(batch_size, max(1, length - 1), dtype=torch.long, device="meta")
        mask = torch.empty(batch_size, length, dtype=torch.long, device="meta")
        read = model(input_ids=ids, attention_mask=mask[:, :-1], use_cache=True, logits_to_keep=1)
        kept = {name: value for name in CACHES if (value := getattr(read, name, None)) is not None}
        del read
        model(input_ids=ids[:, :1], attention_mask=mask, use_cache=True, **kept)


def _of_layers(config: Any) -> dict[str, list[Any]]:
    """Settings of a config that are lists with an entry for each block."""
    count = getattr(config, "num_hidden_layers", None)
    values = {name: value for name, value in vars(config).items() if isinstance(value, list | tuple)}
    return {name: list(value) for name, value in values.items() if len(value) == count and not name.startswith("_")}
