"""Causal language models: the kind of base model that continues a text."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from peftscope.errors import ModelError
from peftscope.methods.context import Inputs
from peftscope.models.device import choose_device, choose_dtype
from peftscope.models.gguf import write_gguf
from peftscope.models.gguf_layout import GgufLayout, gguf_layout
from peftscope.models.kinds.base import BaseFacts, Batch, LoadedModel, ModelKind, ModelProfile, Scored
from peftscope.models.kinds.causal_lm.distributions import (
    beginnings,
    distribution_differences,
    divergence,
    next_token_logits,
    windows_of,
)
from peftscope.models.kinds.causal_lm.empty import read_config
from peftscope.models.kinds.causal_lm.generation import TextGenerator
from peftscope.models.kinds.causal_lm.inputs import TextInputs
from peftscope.models.kinds.causal_lm.latency import decode_latency
from peftscope.models.kinds.causal_lm.loading import load, load_tokenizer, original_tokenizer
from peftscope.models.kinds.causal_lm.loss import try_label_losses
from peftscope.models.kinds.causal_lm.metrics import DECODING, LATENCY_BATCHES
from peftscope.models.kinds.causal_lm.profile import CausalLMProfile
from peftscope.models.quiet import no_progress_bars
from peftscope.models.source import gguf_file, locate
from peftscope.schema.metric import MetricSpec
from peftscope.schema.study import ModelSpec
from peftscope.store.files import ordinary_mode

__all__ = ["CausalLM"]

ANSWERED = 8
"""Tokens of an answer that is compared with another."""
REHEARSED = 3
"""Tokens: the first from the prompt, the next from the cache."""


class CausalLM(ModelKind):
    """Causal language models of ``transformers``, decoded greedily."""

    name: ClassVar[str] = "causal-lm"
    task_type: ClassVar[str | None] = "CAUSAL_LM"
    prediction: ClassVar[str] = "greedy"
    inference_metrics: ClassVar[tuple[MetricSpec, ...]] = DECODING

    def inspect(self, spec: ModelSpec) -> BaseFacts:
        """Tokenizer and hashes; a model that is not on this machine yet is fetched whole."""
        located = locate(spec)
        config = read_config(str(located.folder))  # says what is no causal language model before anything is loaded
        tokenizer = load_tokenizer(spec)
        return BaseFacts(
            processor=tokenizer,
            weights_sha256=located.weights_sha256,
            settings_sha256=located.settings_sha256,
            dtype=choose_dtype(spec.dtype, choose_device(spec.device)),
            width=getattr(config.get_text_config(), "hidden_size", None),
            folder=located.folder,
        )

    def load(self, spec: ModelSpec) -> LoadedModel:
        """The model and its tokenizer."""
        return load(spec)

    def predictor(self, loaded: LoadedModel, scored: Scored) -> TextGenerator:
        """Greedy decoding."""
        return TextGenerator(loaded.processor, loaded.device, scored)

    def prediction_notes(self, predictor: TextGenerator) -> list[str]:
        """Why answers were decoded by ``transformers``, batch after batch."""
        reasons = dict.fromkeys(
            predictor.refusals.get(model, "not tried otherwise")
            for model, way in predictor.ways.items()
            if way == "generate"
        )
        return [f"scoring: decoded by model.generate, which is slower ({reason})" for reason in reasons]

    def rehearse(self, model: nn.Module, predictor: TextGenerator) -> None:
        """Answer two prompts of unlike length with a few tokens."""
        quiet = TextGenerator(predictor.tokenizer, predictor.device)
        quiet(model, ["1", "1 2 3"], max_new_tokens=REHEARSED, max_length=None, batch_size=2)

    def unmet_memory_setting(self, model: nn.Module) -> str | None:
        """By a loss on labelled positions and the model's own."""
        return try_label_losses(model)

    def inference_cost(self, model: nn.Module, form: Literal["adapter", "merged"]) -> Mapping[str, float]:
        """Seconds of a decode step."""
        return {
            f"decode_latency_{form}_b{batch}_s": decode_latency(model, batch_size=batch) for batch in LATENCY_BATCHES
        }

    def profile(self, spec: ModelSpec, dtype: torch.dtype) -> ModelProfile | None:
        """From the model's config."""
        if isinstance(spec.quantization, dict):
            return None
        return CausalLMProfile(
            config=read_config(spec.source, spec.revision),
            dtype=dtype,
            attn_implementation=spec.attn_implementation,
            quantization=spec.quantization,
        )

    def inputs(self, processor: Any) -> Inputs:
        """Token ids."""
        return TextInputs(processor)

    def write(self, loaded: LoadedModel, spec: ModelSpec, folder: Path) -> None:
        """Weights, config and tokenizer; how its author wants it decoded is the base's."""
        model: Any = loaded.model
        model.config.use_cache = True  # off in training
        with no_progress_bars():
            model.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):  # safetensors writes for its user alone
            weights.chmod(ordinary_mode())
        original_tokenizer(spec).save_pretrained(folder)  # anew: the one that was used holds what it was used with
        author = locate(spec).folder / "generation_config.json"
        if author.is_file():
            shutil.copyfile(author, folder / author.name)

    def gguf(self, model: nn.Module) -> GgufLayout:
        """By the model's type."""
        return gguf_layout(model.config)

    def write_gguf(self, loaded: LoadedModel, spec: ModelSpec, path: Path) -> None:
        """Not quantized, whatever the base's file was."""
        source = gguf_file(spec)
        if source is None:
            raise ModelError(
                "the format merged-gguf takes settings and vocabulary from the base's own GGUF file, and this base is "
                "none; take the format merged, and llama.cpp's convert_hf_to_gguf.py"
            )
        write_gguf(loaded.model, source, path)

    def text_batches(self, processor: Any, text: str, *, most: int) -> list[Batch]:
        """Windows of equal length."""
        return windows_of(processor, text, most)

    def outputs(self, processor: Any, model: nn.Module, batch: Batch) -> Tensor:
        """Logits (tokens, vocabulary)."""
        if not {"input_ids", "attention_mask"} <= batch.keys():
            raise NotImplementedError("batches of this task hold no tokens")
        return next_token_logits(model, batch)

    def answers(self, loaded: LoadedModel, model: nn.Module, batches: Sequence[Batch]) -> list[str]:
        """Greedy tokens after the first half of some rows."""
        prompts = beginnings(batches)
        generator = TextGenerator(loaded.processor, loaded.device)
        rows = generator(model, prompts, max_new_tokens=ANSWERED, max_length=None, batch_size=len(prompts) or 1)
        return [row.text for row in rows]

    def divergence(self, wanted: Tensor, given: Tensor) -> Tensor:
        """Of the distributions over the next token."""
        return divergence(wanted, given)

    def heard(self, batch: Batch) -> Tensor | None:
        """Tokens that are no padding."""
        mask = batch.get("attention_mask")
        return mask.bool() if isinstance(mask, Tensor) else None

    def differences(self, wanted: Tensor, given: Tensor) -> Mapping[str, Tensor]:
        """Divergence of the distributions, and whether the likeliest token is the same."""
        return distribution_differences(wanted, given)
