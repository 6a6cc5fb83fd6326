"""A regression net of two layers, and a denoiser of points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from peftscope.errors import ModelError
from peftscope.models.device import choose_device
from peftscope.models.kinds.base import BaseFacts, LoadedModel, ModelKind, Scored
from peftscope.schema.base import content_hash
from peftscope.schema.study import ModelSpec

NUM_FEATURES = 4
STEPS = 5


class Net(nn.Sequential):
    """Features to outputs."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(NUM_FEATURES, width), nn.Tanh(), nn.Linear(width, NUM_FEATURES))


class Noise(nn.Module):
    """Noisy points (N, 4) and how noisy they are (N,) to the noise in them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(NUM_FEATURES + 1, width), nn.Linear(width, NUM_FEATURES)

    def forward(self, points: Tensor, level: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(torch.cat([points, level[:, None]], dim=1))))


class Plain(ModelKind):
    """What both have in common: a source such as ``plain:16`` says how wide a net is."""

    net: ClassVar[type[nn.Module]]

    def inspect(self, spec: ModelSpec) -> BaseFacts:
        weights = {name: tensor.tolist() for name, tensor in self._net(spec).state_dict().items()}
        return BaseFacts(processor=None, weights_sha256=content_hash(weights), dtype=torch.float32, width=_width(spec))

    def load(self, spec: ModelSpec) -> LoadedModel:
        facts = self.inspect(spec)
        device = choose_device(spec.device)
        model = self._net(spec).to(device).eval()
        return LoadedModel(
            model=model, weights_sha256=facts.weights_sha256, dtype=facts.dtype, device=device, width=facts.width
        )

    def _net(self, spec: ModelSpec) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.net(_width(spec))


class RegressionNet(Plain):
    name: ClassVar[str] = "regression-net"
    net = Net


class Denoiser(Plain):
    name: ClassVar[str] = "denoiser"
    prediction: ClassVar[str] = f"{STEPS} steps from noise"
    net = Noise

    def predictor(self, loaded: LoadedModel, scored: Scored) -> Any:
        def draw(model: nn.Module, num_points: int, seed: int) -> Iterator[Tensor]:
            points = torch.randn(num_points, NUM_FEATURES, generator=torch.Generator().manual_seed(seed))
            points = points.to(loaded.device)
            for step in range(STEPS, 0, -1):
                level = torch.full((num_points,), step / STEPS, device=loaded.device)
                points = points - model(points, level) / STEPS
            scored(num_points, num_points)
            return points

        return draw


def _width(spec: ModelSpec) -> int:
    prefix, _, width = spec.source.partition(":")
    if prefix != "plain" or not width.isdecimal():
        raise ModelError(f"model.source: {spec.source!r} is no plain model; write plain:WIDTH")
    return int(width)
