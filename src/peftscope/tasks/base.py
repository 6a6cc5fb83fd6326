"""The contract between a task and the one training loop.

The loop knows neither tokens nor images: it draws batches, asks for a loss and asks for scores.
Padding, labels, cross-entropy, decoding and answer parsing live behind this contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor, nn

from peftscope.errors import DataError
from peftscope.models.kinds.base import Batch
from peftscope.schema.metric import MetricSpec

__all__ = [
    "Batch",
    "ExampleScore",
    "HasLoss",
    "Predictor",
    "Retention",
    "Sample",
    "Scorer",
    "ShownExample",
    "Split",
    "Task",
    "TaskContext",
    "to_device",
]

Split = Literal["train", "valid", "test"]

Predictor = Any
"""What a task scores with beside the model, as the kind of model makes it (``ModelKind.predictor``)."""


@dataclass(frozen=True, kw_only=True)
class TaskContext:
    """What a study fixes for a task, the same for every method."""

    processor: Any
    """What turns examples into the base's inputs; None where it has none."""
    kind: str = ""
    """Kind of the base model, by its name."""
    batch_size: int = 4
    """Samples in a micro-batch."""


@dataclass(frozen=True, kw_only=True)
class ExampleScore:
    """Score of one example (and draw)."""

    example_id: str
    score: float
    draw: int = 0
    output: str | None = None
    truncated: bool | None = None
    group: str | None = None
    """What it shares with other examples, such as a document; None where it stands for itself."""


@dataclass(frozen=True, kw_only=True)
class ShownExample:
    """An example as a person would look at it."""

    example_id: str
    prompt: str
    target: str
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A file for a person to look at."""

    name: str
    """A word, and the file's name: ``samples``."""
    suffix: str
    """Of the file: ``.png``."""
    about: str
    """What is to be seen."""
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Models that set what was made against what was wanted. They work on the CPU, whatever the device of the base."""

    models: tuple[nn.Module, ...]
    work: Callable[[], object]
    """Does once as much as is done at once at the most."""


class Retention(ABC):
    """Measures what a trained model lost of what its base could do (forgetting) and how far it moved (drift).

    The base is measured before any method touches it; the result is kept and shared by all runs.
    """

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What decides the baseline beside the base's weights and type."""

    @abstractmethod
    def baseline(self, base: nn.Module) -> dict[str, Tensor]:
        """The untouched base's values, as tensors that can be kept in a safetensors file."""

    @abstractmethod
    def compare(self, model: nn.Module, baseline: dict[str, Tensor]) -> dict[str, float]:
        """Metrics of a trained model against its base's values: ``forgetting``, ``drift``, ``general_loss``."""

    def rehearse(self, model: nn.Module) -> None:
        """Do on a model by its shapes alone what ``baseline`` and ``compare`` do at the most, to count its memory.

        Nothing, the default, where scoring takes as much or more.
        """
        return


class HasLoss(Protocol):
    """The part of a task that one training step needs."""

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Sum of the loss over the batch's labels (scalar, with graph) and the number of labels."""


class Task(ABC):
    """Data, metric, and how a model is trained and scored on them."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever the same options would give other numbers than before."""
    unit: ClassVar[str]
    """What throughput counts: ``tokens``, ``images``, …"""

    @property
    @abstractmethod
    def metric(self) -> MetricSpec:
        """The task's primary metric: the mean of the outcomes' scores."""

    @abstractmethod
    def size(self, split: Split) -> int:
        """Number of examples in a split."""

    @abstractmethod
    def batches(self, seed: int) -> Iterator[Batch]:
        """Training batches without end: epoch after epoch, each sample once an epoch, order from ``seed``."""

    def sources(self) -> Sequence[Path] | None:
        """Files and folders on this machine that decide the examples and their scores, as absolute paths.

        None, the default: it is not known, and the study's data are read again by every start. Data of the hub need
        not be named.
        """
        return None

    def epoch_size(self) -> int:
        """What ``train.batch_size`` counts in an epoch: samples, or rows that several of them share."""
        return self.size("train")

    @abstractmethod
    def eval_batches(self, split: Split) -> Iterator[Batch]:
        """A split once, in a fixed order, in the form ``loss`` takes; for the held-out loss."""

    @abstractmethod
    def num_samples(self, batch: Batch) -> int:
        """Number of samples in a batch."""

    @abstractmethod
    def num_units(self, batch: Batch) -> int:
        """How much a batch trains on in the task's ``unit``, padding left out; for throughput."""

    @abstractmethod
    def longest_batch(self) -> Batch:
        """The batch with the largest memory need that ``batches`` can give; for metering."""

    def largest_training(self) -> tuple[int, int] | None:
        """Samples at once and their largest length in training, in the unit of the kind of model; None where the task
        cannot tell."""
        return None

    def largest_scoring(self) -> tuple[int, int] | None:
        """Samples at once and their largest length in scoring, outputs included; None where the task cannot tell."""
        return None

    def scorer(self) -> Scorer | None:
        """What it scores with beside the base; None, the default, where no other model does."""
        return None

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Sum of the loss over the batch's labels (scalar, with graph) and the number of labels."""

    @abstractmethod
    def score(self, model: nn.Module, predictor: Predictor, split: Split) -> Sequence[ExampleScore]:
        """One outcome per example (and draw) of the split, in the split's order."""

    def score_and_loss(
        self, model: nn.Module, predictor: Predictor, split: Split
    ) -> tuple[Sequence[ExampleScore], float | None]:
        """What ``score`` gives, and the mean of ``loss`` per label over the split where the same pass tells it.

        None, the default, where it does not: ``eval_batches`` are then gone through once more.
        """
        return self.score(model, predictor, split), None

    def answer_facts(self, split: Split, outcomes: Sequence[ExampleScore]) -> Mapping[str, float]:
        """What answers tell beside their scores, by names of metrics of the measurement ``score``; none by default."""
        return {}

    def samples(
        self, model: nn.Module, predictor: Predictor, baseline: Mapping[str, Tensor] | None, run_id: str
    ) -> Sequence[Sample]:
        """What a trained model makes, as files for a person to look at; none by default.

        Called after ``score`` of the test split.

        Args:
            model: With the method on it.
            predictor: As the kind of model made it.
            baseline: What ``retention`` kept of the base; None where that is not measured.
            run_id: To be written into the files.
        """
        return ()

    @abstractmethod
    def show(self, split: Split, index: int) -> ShownExample:
        """An example as a person would look at it."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """Version, options, split sizes and content hashes: what makes two runs' data the same."""

    def retention(self) -> Retention | None:
        """What the base could do before and should not lose; None where the task has no such measure."""
        return None

    def warnings(self) -> Sequence[str]:
        """What a user should know about how the data was made (rows cut off, rows dropped)."""
        return ()

    def resplit(self, seed: int) -> None:
        """Cut training and validation data anew by a seed, sizes as they are; the test split stays.

        The fingerprint stays, too: it is of the data, which do not change.

        Raises:
            DataError: The task cannot, or its validation data are not a part of its training data.
        """
        raise DataError(f"task {self.name}: its split cannot vary with the seed; set vary_split: false")

    def save_cache(self, folder: Path, retention: Retention | None = None) -> None:
        """Write into an empty folder what ``from_cache`` makes this task from, so that runs need not make it anew.

        A task that writes nothing, the default, is made anew by every run.

        Args:
            folder: Files lie here and in folders of it; never pickles, which can run code when they are read.
            retention: What ``retention`` of the cached task is to give.

        Raises:
            OSError: The disk is full or not writable.
        """
        return

    @classmethod
    def from_cache(cls, options: Any, context: TaskContext, folder: Path) -> Self:
        """The task that ``save_cache`` wrote: the same batches, scores and fingerprint, without reading its sources.

        Raises:
            StoreError: The folder cannot be read; the task is then made anew.
        """
        return cls(options, context)  # type: ignore[call-arg]

    def cache_key(self) -> dict[str, Any]:
        """What decides the content of what ``save_cache`` writes, as JSON values."""
        return {"fingerprint": self.fingerprint(), "warnings": list(self.warnings())}


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on ``device``."""
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
