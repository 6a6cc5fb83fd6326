"""Two tasks without text. They keep the interface honest: the loop must train them like any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from peftscope.schema.metric import MetricSpec
from peftscope.tasks.base import Batch, ExampleScore, Predictor, ShownExample, Split, Task
from peftscope.tasks.order import epoch_batches

__all__ = ["DenoisingTask", "RegressionTask", "ToyTask"]


class ToyTask(Task):
    """Pairs ``x`` (N, 4) -> ``y`` (N, 4) under squared error; what the two toys share."""

    version: ClassVar[int] = 1
    unit: ClassVar[str] = "samples"
    batch_size = 4
    x: Tensor
    y: Tensor

    @property
    def metric(self) -> MetricSpec:
        return MetricSpec(name="error", unit="squared", direction="lower", window="all examples of the split")

    def size(self, split: Split) -> int:
        return len(self.x)

    def batches(self, seed: int) -> Iterator[Batch]:
        for indices in epoch_batches([1] * len(self.x), self.batch_size, seed):
            yield {"x": self.x[indices], "y": self.y[indices], "indices": indices}

    def eval_batches(self, split: Split) -> Iterator[Batch]:
        yield {"x": self.x, "y": self.y}

    def num_samples(self, batch: Batch) -> int:
        return len(batch["x"])

    num_units = num_samples

    def longest_batch(self) -> Batch:
        return {"x": self.x[: self.batch_size], "y": self.y[: self.batch_size]}

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        return (model(batch["x"]) - batch["y"]).square().sum(), batch["y"].numel()

    @torch.no_grad()
    def score(self, model: nn.Module, generate: Predictor, split: Split) -> Sequence[ExampleScore]:
        errors = (model(self.x) - self.y).square().mean(1)
        return [ExampleScore(example_id=str(i), score=float(error)) for i, error in enumerate(errors)]

    def show(self, split: Split, index: int) -> ShownExample:
        return ShownExample(example_id=str(index), prompt=str(self.x[index]), target=str(self.y[index]))

    def fingerprint(self) -> dict[str, Any]:
        return {"task": self.name, "version": self.version, "sum": float(self.x.sum() + self.y.sum())}


class RegressionTask(ToyTask):
    """A linear map to learn."""

    name: ClassVar[str] = "toy-regression"

    def __init__(self, num_rows: int = 18) -> None:
        source = torch.Generator().manual_seed(0)
        self.x = torch.randn(num_rows, 4, generator=source)
        self.y = self.x @ torch.randn(4, 4, generator=source)


class DenoisingTask(ToyTask):
    """Noise to predict from points with noise on them: the shape image generation will have."""

    name: ClassVar[str] = "toy-denoising"

    def __init__(self, num_rows: int = 18) -> None:
        source = torch.Generator().manual_seed(0)
        self.y = torch.randn(num_rows, 4, generator=source)
        self.x = torch.ones(num_rows, 4) + self.y

    def score(self, model: nn.Module, generate: Predictor, split: Split) -> Sequence[ExampleScore]:
        """Two draws per example, as image tasks have them."""
        once = super().score(model, generate, split)
        return [ExampleScore(example_id=o.example_id, score=o.score, draw=draw) for o in once for draw in (0, 1)]
