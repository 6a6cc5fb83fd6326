"""What a prediction is made for: a base by its shape, and the batches it is trained on."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from peftscope.errors import ModelError
from peftscope.models.empty import empty_model, read_config
from peftscope.models.image import TransformerConfig, empty_transformer, read_transformer_config
from peftscope.tasks.base import Batch
from peftscope.tasks.flow_matching import flow_matching_loss
from peftscope.tasks.language import causal_lm_loss

__all__ = ["ImageSubject", "Subject", "TextSubject", "read_subject"]

POSITION_AXES = 4
"""Coordinates of a token in FLUX.2: time, row, column, layer."""
PIXELS_PER_TOKEN = 16
"""On a side: the autoencoder makes 8 × 8 pixels one, and patches of 2 × 2 of those become a token."""


class Subject(ABC):
    """A base on the ``meta`` device with batches of any size."""

    task_type: str | None
    """As ``BuildContext`` wants it."""
    vocab_size: int | None
    """Logits are known by it; None where there are none."""
    beside_bytes: tuple[int, ...] = ()
    """What else lies on the device throughout: cached inputs, a model that scores."""
    unit: ClassVar[str]
    """Of the length."""
    length_step: ClassVar[int] = 8
    """Lengths that would fit are given in multiples of it."""
    alike: ClassVar[bool] = False
    """Whether all batches are of one size, so that each step finds the blocks the one before it left in the
    allocator's cache. Where they are not, the longest batch meets blocks it cannot use, which go back first."""
    moves: ClassVar[bool] = False
    """Whether the model goes to the device when the technique is on it: then nothing stays behind, and what was a
    part of a larger tensor becomes one of its own."""

    @property
    def num_layers(self) -> int | None:
        """Blocks that follow one another and are alike; None where there is no one stack of them."""
        return None

    @property
    def period(self) -> int:
        """Blocks after which their kinds repeat."""
        return 1

    def with_layers(self, count: int) -> Subject:
        """The same base with another number of blocks."""
        raise NotImplementedError

    @abstractmethod
    def described(self) -> str:
        """What the base is, in a few words."""

    @abstractmethod
    def base(self) -> nn.Module:
        """A new base without weights."""

    @abstractmethod
    def batch(self, batch_size: int, length: int) -> Batch:
        """A training batch without values."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The loss of the task that would be trained, as ``Task.loss`` gives it."""

    def score(self, model: nn.Module, batch_size: int, length: int) -> None:
        """What scoring does at the most, without gradients.

        Raises:
            NotImplementedError: Scoring is not predicted for such a model.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TextSubject(Subject):
    """A causal language model; ``length`` is in tokens."""

    config: Any
    """As transformers holds it."""
    dtype: torch.dtype
    attn_implementation: str | None = None
    quantization: Literal["nf4", "int8"] | None = None

    task_type = "CAUSAL_LM"
    unit = "tokens"

    @property
    def vocab_size(self) -> int | None:  # type: ignore[override]
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

    def with_layers(self, count: int) -> TextSubject:
        """The first blocks alone."""
        config = copy.deepcopy(self.config)
        text = config.get_text_config()
        for name, kinds in _of_layers(text).items():
            setattr(text, name, kinds[:count])
        text.num_hidden_layers = count
        return replace(self, config=config)

    def described(self) -> str:
        """Kind of model and type of its weights."""
        dtype = str(self.dtype).removeprefix("torch.")
        packed = "" if self.quantization is None else f"{self.quantization}, "
        return f"{self.config.model_type}, {packed}{dtype}"

    def base(self) -> nn.Module:
        """The model of the config, as ``models.load`` would prepare it."""
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

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The loss of every language task."""
        return causal_lm_loss(model, batch)

    def score(self, model: nn.Module, batch_size: int, length: int) -> None:
        """The longest prompt, and the last token of an answer behind a full cache."""
        ids = torch.empty(batch_size, max(1, length - 1), dtype=torch.long, device="meta")
        mask = torch.empty(batch_size, length, dtype=torch.long, device="meta")
        read = model(input_ids=ids, attention_mask=mask[:, :-1], use_cache=True, logits_to_keep=1)
        cache = read.past_key_values
        del read
        model(input_ids=ids[:, :1], attention_mask=mask, past_key_values=cache, use_cache=True)


@dataclass(frozen=True, kw_only=True)
class ImageSubject(Subject):
    """A diffusion transformer that learns by flow matching; ``length`` is an image's side in pixels."""

    config: TransformerConfig
    dtype: torch.dtype
    prompt_tokens: int = 512
    """Prompts are padded to it."""
    beside_bytes: tuple[int, ...] = ()

    task_type = None
    vocab_size = None
    unit = "px"
    length_step = PIXELS_PER_TOKEN
    alike = True
    moves = True

    def described(self) -> str:
        """Class of the transformer and type of its weights."""
        return f"{self.config.class_name}, {str(self.dtype).removeprefix('torch.')}"

    def base(self) -> nn.Module:
        """The transformer of the config."""
        return empty_transformer(self.config, dtype=self.dtype)

    def batch(self, batch_size: int, length: int) -> Batch:
        """Latents (B, S, C), prompts (B, T, D) and what ``flow_matching_loss`` needs beside."""
        settings, meta = self.config.settings, torch.device("meta")
        tokens = (length // PIXELS_PER_TOKEN) ** 2
        latents = torch.empty(batch_size, tokens, settings["in_channels"], dtype=self.dtype, device=meta)
        prompts = (batch_size, self.prompt_tokens)
        return {
            "latents": latents,
            "noise": torch.empty_like(latents),
            "sigmas": torch.empty(batch_size, dtype=self.dtype, device=meta),
            "prompts": torch.empty(*prompts, settings["joint_attention_dim"], dtype=self.dtype, device=meta),
            "image_places": torch.empty(batch_size, tokens, POSITION_AXES, dtype=torch.long, device=meta),
            "prompt_places": torch.empty(*prompts, POSITION_AXES, dtype=torch.long, device=meta),
        }

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The loss of learning a concept."""
        return flow_matching_loss(model, batch)

    def score(self, model: nn.Module, batch_size: int, length: int) -> None:
        """A step of drawing."""
        self.loss(model, self.batch(batch_size, length))


def _of_layers(config: Any) -> dict[str, list[Any]]:
    """Settings of a config that are lists with an entry for each block."""
    count = getattr(config, "num_hidden_layers", None)
    values = {name: value for name, value in vars(config).items() if isinstance(value, list | tuple)}
    return {name: list(value) for name, value in values.items() if len(value) == count and not name.startswith("_")}


def read_subject(source: str, dtype: torch.dtype, quantization: Literal["nf4", "int8"] | None = None) -> Subject:
    """What a source holds the config of: a language model, or an image model's transformer.

    Args:
        source: As ``models.empty.read_config`` and ``models.image.read_transformer_config`` take it.
        dtype: Of the weights.
        quantization: Of the linear layers.

    Raises:
        ModelError: There is nothing, the hub cannot be reached, it is a model of another kind, or an image model is to
            be quantized.
        StoreError: The hub's cache cannot be written.
    """
    image = read_transformer_config(source)
    if image is not None and quantization is not None:
        raise ModelError(f"quantization {quantization}: not predicted for image models; leave it out")
    if image is not None:
        return ImageSubject(config=image, dtype=dtype)
    return TextSubject(config=read_config(source), dtype=dtype, quantization=quantization)
