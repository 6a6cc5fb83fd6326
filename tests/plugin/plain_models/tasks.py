"""A noisy linear map to learn, and a cloud of points to draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from peftscope.schema.metric import MetricSpec
from peftscope.tasks.base import Batch, ExampleScore, Predictor, ShownExample, Split, Task, TaskContext
from peftscope.tasks.order import epoch_batches
from plain_models.entry import LinearMapOptions, PointCloudOptions
from plain_models.kinds import NUM_FEATURES

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Rows(Task):
    """Rows x (N, 4), and what both tasks do with them."""

    version: ClassVar[int] = 1
    rows: dict[Split, dict[str, Tensor]]
    context: TaskContext
    options: Any

    def size(self, split: Split) -> int:
        return len(self.rows[split]["x"])

    def batches(self, seed: int) -> Iterator[Batch]:
        for indices in epoch_batches([1] * self.size("train"), self.context.batch_size, seed):
            yield {name: values[indices] for name, values in self.rows["train"].items()}

    def eval_batches(self, split: Split) -> Iterator[Batch]:
        yield self.rows[split]

    def num_samples(self, batch: Batch) -> int:
        return len(batch["x"])

    def num_units(self, batch: Batch) -> int:
        return len(batch["x"])

    def longest_batch(self) -> Batch:
        return {name: values[: self.context.batch_size] for name, values in self.rows["train"].items()}

    def show(self, split: Split, index: int) -> ShownExample:
        rows = self.rows[split]
        return ShownExample(example_id=f"{split}-{index}", prompt=str(rows["x"][index].tolist()), target=str(index))

    def fingerprint(self) -> dict[str, Any]:
        sizes = {split: self.size(split) for split in SPLITS}
        return {"task": self.name, "version": self.version, "options": self.options.model_dump(), "sizes": sizes}


class LinearMap(Rows):
    name: ClassVar[str] = "linear-map"
    unit: ClassVar[str] = "rows"

    def __init__(self, options: LinearMapOptions, context: TaskContext) -> None:
        self.options, self.context = options, context
        source = torch.Generator().manual_seed(0)
        x = torch.randn(options.num_rows, NUM_FEATURES, generator=source)
        y = x @ torch.randn(NUM_FEATURES, NUM_FEATURES, generator=source)
        y = y + options.noise * torch.randn(y.shape, generator=source)
        self.rows = {split: {"x": a, "y": b} for split, a, b in zip(SPLITS, _parts(x), _parts(y))}

    @property
    def metric(self) -> MetricSpec:
        return MetricSpec(name="squared_error", unit="squared", direction="lower", window="all rows of the split")

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        return (model(batch["x"]) - batch["y"]).square().sum(), batch["y"].numel()

    def score(self, model: nn.Module, predictor: Predictor, split: Split) -> Sequence[ExampleScore]:
        rows, device = self.rows[split], next(model.parameters()).device
        errors = (model(rows["x"].to(device)) - rows["y"].to(device)).square().mean(1)
        return [ExampleScore(example_id=f"{split}-{i}", score=float(error)) for i, error in enumerate(errors)]


class PointCloud(Rows):
    name: ClassVar[str] = "point-cloud"
    unit: ClassVar[str] = "points"

    def __init__(self, options: PointCloudOptions, context: TaskContext) -> None:
        self.options, self.context = options, context
        source = torch.Generator().manual_seed(0)
        x = 1.0 + 0.1 * torch.randn(options.num_points, NUM_FEATURES, generator=source)
        noise = torch.randn(x.shape, generator=source)
        level = torch.rand(options.num_points, generator=source)
        self.rows = {
            split: {"x": a, "noise": b, "level": c}
            for split, a, b, c in zip(SPLITS, _parts(x), _parts(noise), _parts(level))
        }

    @property
    def metric(self) -> MetricSpec:
        window = "all points of the split, and every draw"
        return MetricSpec(name="distance", unit="squared", direction="lower", window=window)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        x, noise, level = batch["x"], batch["noise"], batch["level"]
        noisy = x + level[:, None] * noise
        return (model(noisy, level) - noise).square().sum(), noise.numel()

    def score(self, model: nn.Module, predictor: Predictor, split: Split) -> Sequence[ExampleScore]:
        found = []
        for draw in range(self.options.num_draws):
            points = predictor(model, self.size(split), draw)
            away = (points - 1.0).square().mean(1)
            found += [ExampleScore(example_id=f"{split}-{i}", score=float(d), draw=draw) for i, d in enumerate(away)]
        return found


def _parts(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    half, quarter = len(values) // 2, len(values) // 4
    return values[:half], values[half : half + quarter], values[half + quarter :]
