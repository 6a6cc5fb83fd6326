"""The contract of a kind of base model: all that depends on what sort of model the base is stands behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from peftscope.errors import ModelError
from peftscope.methods.context import Inputs
from peftscope.models.gguf_layout import GgufLayout
from peftscope.schema.metric import MetricSpec
from peftscope.schema.study import ModelSpec

__all__ = ["BaseFacts", "Batch", "LoadedModel", "ModelKind", "ModelProfile", "Scored"]

Batch = dict[str, Any]
"""Whatever a task's ``loss`` understands; tensors in it are on the CPU until the loop moves them."""

Scored = Callable[[int, int], None]
"""Told how many examples are scored, and of how many."""


@dataclass(frozen=True, kw_only=True)
class BaseFacts:
    """What is known of a base before its weights are loaded; the same as its ``LoadedModel`` will say."""

    processor: Any
    """What turns examples into inputs: a tokenizer, an image processor, …; None where there is none."""
    weights_sha256: str
    """Hash over names and contents of the weight files."""
    settings_sha256: str = ""
    """Hash of what its config decides beside the weights."""
    dtype: torch.dtype
    """Type of the weights that are not quantized."""
    width: int | None = None
    """Hidden size, by which a search of learning rates begins; None where there is no such number."""
    folder: Path | None = None
    """Where its files lie."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A base model as it was before any method touched it."""

    model: nn.Module
    processor: Any = None
    weights_sha256: str
    settings_sha256: str = ""
    dtype: torch.dtype
    device: torch.device
    width: int | None = None
    quantization: str | None = None
    """``int8``, ``nf4``, another method's name, or None."""
    revision: str | None = None
    """Commit of the hub repository; None for other sources."""
    weight_files: tuple[str, ...] = ()
    """Names of the files the weights were read from."""
    num_positions: int | None = None
    """Longest sequence there are positions for; None where a longer one runs."""
    num_params: int = 0
    """Parameters, shared ones counted once, quantized ones unpacked."""


class ModelKind(ABC):
    """A kind of base model, such as causal language models.

    Made without arguments, once per process. What a kind does not have (scoring that needs more than the model,
    costs of inference, shapes to count on, inputs methods may start from) it leaves at the default.
    """

    name: ClassVar[str]
    task_type: ClassVar[str | None] = None
    """Member of ``peft.TaskType``; None for a model that is none of transformers' task classes."""
    prediction: ClassVar[str] = "forward pass"
    """How the predictor decides, in words: a part of the conditions of quality."""
    inference_metrics: ClassVar[tuple[MetricSpec, ...]] = ()
    """What ``inference_cost`` measures, of the adapter and merged."""

    @abstractmethod
    def inspect(self, spec: ModelSpec) -> BaseFacts:
        """What is known before weights are loaded; fetches what is not on this machine yet.

        Raises:
            ModelError: The base cannot be found, reached or read.
            StoreError: The cache cannot be written.
        """

    @abstractmethod
    def load(self, spec: ModelSpec) -> LoadedModel:
        """Load a base for training, on its device, in ``eval`` mode.

        Raises:
            ModelError: It cannot be found, reached, read, quantized, or put on the device asked for.
            MissingExtra: A package its quantization needs is not installed.
            StoreError: The cache cannot be written.
        """

    def predictor(self, loaded: LoadedModel, scored: Scored) -> Any:
        """What a task scores with beside the model: text decoded, images drawn; None where a forward pass is all.

        Args:
            loaded: The base, without a method.
            scored: To be told how scoring gets on.
        """
        return None

    def prediction_notes(self, predictor: Any) -> list[str]:
        """What a user should know of how a predictor predicted; nothing by default."""
        return []

    def rehearse(self, model: nn.Module, predictor: Any) -> None:
        """Do on the least input what scoring will do, so that a method that cannot is found out before it is trained.

        Args:
            model: With a method on it.
            predictor: As ``predictor`` gave it.
        """
        return

    def unmet_memory_setting(self, model: nn.Module) -> str | None:
        """Why the loss holds all outputs though the base is marked to save their memory; None where it saves it.

        Found out by trying, once a method is on the base.
        """
        return None

    def inference_cost(self, model: nn.Module, form: Literal["adapter", "merged"]) -> Mapping[str, float]:
        """Those ``inference_metrics`` that are of a form, measured on a trained model."""
        return {}

    def profile(self, spec: ModelSpec, dtype: torch.dtype) -> ModelProfile | None:
        """The base by its shapes alone; None where the source is no model of this kind, or sizes are not predicted.

        No weights are read or downloaded.

        Raises:
            ModelError: The source is such a model, and its config cannot be read.
            StoreError: The hub's cache cannot be written.
        """
        return None

    def knows(self, spec: ModelSpec) -> bool:
        """Whether a source is a model of this kind, as far as its config tells.

        Raises:
            ModelError: It cannot be reached, or is no model at all.
            StoreError: The hub's cache cannot be written.
        """
        return self.profile(spec, torch.float32) is not None

    def inputs(self, processor: Any) -> Inputs | None:
        """What methods may start from; None where such starts are not defined."""
        return None

    def write(self, loaded: LoadedModel, spec: ModelSpec, folder: Path) -> None:
        """Write a model whole, as its library loads it: the base of a spec with other weights in it.

        Raises:
            NotImplementedError: Models of the kind are not written.
        """
        raise NotImplementedError

    def gguf(self, model: nn.Module) -> GgufLayout:
        """How llama.cpp lays out the weights of a model.

        Raises:
            ModelError: It runs no such models, or they were not compared there.
        """
        raise ModelError(f"llama.cpp runs no models of the kind {self.name}")

    def write_gguf(self, loaded: LoadedModel, spec: ModelSpec, path: Path) -> None:
        """Write a model whole as a GGUF file: the base of a spec with other weights in it.

        Raises:
            ModelError: As ``gguf``; or the base is no GGUF file, from which settings and vocabulary are taken.
        """
        self.gguf(loaded.model)
        raise NotImplementedError

    def part(self, processor: Any) -> str | None:
        """What a pipeline calls the model that is trained; None where it is not a part of one."""
        return None

    def text_batches(self, processor: Any, text: str, *, most: int) -> list[Batch] | None:
        """A text as batches that ``outputs`` takes; None where models of the kind read none.

        Args:
            processor: The base's.
            text: To be read.
            most: Rows of output at the most that the batches are to give.

        Raises:
            DataError: The text is too short.
        """
        return None

    def outputs(self, processor: Any, model: nn.Module, batch: Batch) -> Tensor:
        """What a model puts out of a batch, of which a task's loss would be taken: (rows, width), padding left out.

        Args:
            processor: The base's.
            model: With a method or without, in ``eval`` mode.
            batch: On the model's device.

        Raises:
            NotImplementedError: Outputs of such models are not compared.
        """
        raise NotImplementedError

    def answers(self, loaded: LoadedModel, model: nn.Module, batches: Sequence[Batch]) -> list[str]:
        """What a model makes of the beginnings of some inputs, to be compared word for word; none where it makes none.

        Args:
            loaded: The base.
            model: With a method or without.
            batches: As ``outputs`` takes them.
        """
        return []

    def divergence(self, wanted: Tensor, given: Tensor) -> Tensor:
        """What one output (rows, width) has to come down by to be another: a figure for each row, with graph."""
        return (wanted.float() - given.float()).square().sum(-1)

    def heard(self, batch: Batch) -> Tensor | None:
        """Which positions of a batch hold something, the rest being padding; None where all do."""
        return None

    def differences(self, wanted: Tensor, given: Tensor) -> Mapping[str, Tensor]:
        """How two outputs (rows, width) differ beside their distance: figures by name, one for each row."""
        return {}


class ModelProfile(ABC):
    """A base on the ``meta`` device with batches of any size: what a footprint is counted on."""

    task_type: str | None
    """As the kind's."""
    output_width: int | None
    """Last dimension by which outputs (logits) are known; None where there are none."""
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
    """Whether the model goes to the device when the method is on it: then nothing stays behind, and what was a
    part of a larger tensor becomes one of its own."""

    @property
    def num_layers(self) -> int | None:
        """Blocks that follow one another and are alike; None where there is no one stack of them."""
        return None

    @property
    def period(self) -> int:
        """Blocks after which their kinds repeat."""
        return 1

    def with_layers(self, count: int) -> ModelProfile:
        """The same base with another number of blocks."""
        raise NotImplementedError

    @abstractmethod
    def described(self) -> str:
        """What the base is, in a few words."""

    max_length: int | None = None
    """Longest sequence the base is made for; None where it has no limit."""

    def quantized(self, kind: Literal["nf4", "int8"]) -> ModelProfile | None:
        """The same base quantized; None where it is, or cannot be."""
        return None

    def notes(self) -> list[str]:
        """What a user should know of the figures that are counted on it."""
        return []

    def unmet_memory_setting(self, model: nn.Module) -> str | None:
        """As the kind's, as far as shapes tell."""
        return None

    @abstractmethod
    def base(self) -> nn.Module:
        """A new base without weights."""

    @abstractmethod
    def batch(self, batch_size: int, length: int) -> Batch:
        """A training batch without values."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The loss of the task that would be trained, as ``Task.loss`` gives it."""

    def scoring_parts(self) -> Sequence[nn.Module]:
        """What lies on the device beside the model while it scores, such as an autoencoder; the same in every call.

        Raises:
            ModelError: It cannot be built.
        """
        return ()

    def as_scored(self, model: nn.Module) -> AbstractContextManager[None]:
        """A model without values as it is while it is scored; by default as it is."""
        return nullcontext()

    def score(self, model: nn.Module, batch_size: int, length: int) -> None:
        """What scoring does at the most, without gradients.

        Raises:
            NotImplementedError: Scoring is not predicted for such a model.
        """
        raise NotImplementedError
