"""The contract of a measurement: what it gives, and how it is taken of a training and of a trained model."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor
from torch.optim import Optimizer

from peftscope.capture import capture
from peftscope.methods.build import Built
from peftscope.models.kinds.base import ModelKind
from peftscope.schema.record import Artefact, ExampleOutcome
from peftscope.schema.run import RunSpec
from peftscope.tasks.base import Predictor, Retention, Task

if TYPE_CHECKING:
    from peftscope.measures.peak_meter import PeakMeter

__all__ = ["Measured", "Measurement", "Trained", "Watch"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model, and what it was trained on and with."""

    built: Built
    """The model with the method on it."""
    kind: ModelKind
    task: Task
    predictor: Predictor
    spec: RunSpec
    checkpoint: Path
    """Folder its weights are saved in."""
    folder: Path
    """Of the study; what is left in it for people to look at is named in the record."""
    optimizer: Optimizer | None = None
    """As the training left it; None where nothing was trained, or its memory is known already."""
    retention: tuple[Retention, Mapping[str, Tensor]] | None = None
    """What the base could do before, with its values; None where that is not measured."""


class Measured:
    """Metrics found so far, and for those that cannot be had: why."""

    def __init__(self) -> None:
        self.metrics: dict[str, float | int] = {}
        self.missing: dict[str, str] = {}
        self.warnings: list[str] = []
        self.examples: list[ExampleOutcome] = []
        self.artefacts: list[Artefact] = []

    def put(self, name: str, value: float | int | None) -> None:
        """Note a value; None is noted by ``complete`` with a reason, what is no number here and now."""
        if value is not None and not math.isfinite(value):
            self.missing[name] = f"came out as {value}"
        elif value is not None:
            self.metrics[name] = value

    def put_peaks(self, phase: str, meter: PeakMeter) -> None:
        """Note the memory peaks of a phase (``train`` or ``eval``)."""
        self.put(f"sampled_{phase}_memory_bytes", meter.sampled_bytes)
        self.put(f"peak_{phase}_memory_bytes", meter.allocated_bytes)
        self.put(f"peak_{phase}_reserved_bytes", meter.reserved_bytes)
        if meter.sampled_bytes is None:
            self.missing[f"sampled_{phase}_memory_bytes"] = "taken where there are no accelerator's counters"
            self.missing["sampled_base_memory_bytes"] = self.missing[f"sampled_{phase}_memory_bytes"]
        else:
            self.missing[f"peak_{phase}_reserved_bytes"] = "taken from an accelerator's counters"

    def attempt(self, what: str, names: Iterable[str], action: Callable[[], None]) -> bool:
        """Measure something beside the result; gives whether it did. A failure costs these metrics, not the run."""
        failure = capture(action)
        if failure is None:
            return True
        self.missing |= {name: failure.reason for name in names if name not in self.metrics}
        if failure.status != "refused":
            self.warnings.append(f"{what} could not be measured: {failure.reason}")
        return False

    def complete(self, names: Iterable[str], reason: str) -> tuple[dict[str, float | int | None], dict[str, str]]:
        """Every metric there is, None where it is missing, and the reasons."""
        metrics = {name: self.metrics.get(name) for name in dict.fromkeys([*names, *self.metrics])}
        return metrics, {n: self.missing.get(n, reason) for n, v in metrics.items() if v is None}


class Watch(ABC):
    """What a measurement sees of a training while it goes on. A failure costs the measurement's metrics alone."""

    @abstractmethod
    def start(self) -> None:
        """The first step is next."""

    @abstractmethod
    def pause(self) -> None:
        """Training stops for a while: what follows, such as validation, does not count."""

    @abstractmethod
    def resume(self) -> None:
        """Training goes on."""

    @abstractmethod
    def stop(self) -> None:
        """The last step is done, or the training was broken off."""

    @abstractmethod
    def put(self, measured: Measured) -> None:
        """Put the metrics; after ``stop``, of a training that was not broken off."""


class Measurement(ABC):
    """Takes some metrics: of a trained model, after the training, and of the training while it goes on.

    Made anew for every run, without arguments. The metrics are those of its registry entry.
    """

    stage: ClassVar[str]
    """What is told while it is taken: a word or two."""
    beside: ClassVar[bool] = True
    """Whether its failure costs its metrics alone; otherwise it costs the run."""

    def watch(self, built: Built) -> Watch | None:
        """What is to see the training of a model, which is about to begin; None for what needs the result alone."""
        return None

    @abstractmethod
    def take(self, trained: Trained, measured: Measured) -> None:
        """Take the metrics and put them; for those that are not to be had here, a reason into ``missing``.

        It leaves the model's weights as they are, or is the last to see them.
        """
