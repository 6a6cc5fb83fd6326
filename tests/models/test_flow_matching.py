"""The image loss is that of rectified flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from peftscope.models.kinds.text_to_image.flow_matching import flow_matching_loss


class _Knows(nn.Module):
    """Predicts a given velocity, and keeps what it was shown."""

    def __init__(self, velocity: Tensor) -> None:
        super().__init__()
        self.velocity = velocity

    def forward(self, hidden_states: Tensor, timestep: Tensor, **_: Any) -> tuple[Tensor]:
        self.seen, self.timestep = hidden_states, timestep
        return (self.velocity,)


def _batch() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "latents": torch.randn(2, 6, 4),
        "noise": torch.randn(2, 6, 4),
        "sigmas": torch.tensor([0.25, 1.0]),
        "prompts": torch.randn(2, 3, 8),
        "image_places": torch.zeros(2, 6, 4),
        "prompt_places": torch.zeros(2, 3, 4),
    }


def test_flow_matching_loss_is_the_squared_velocity_error() -> None:
    batch = _batch()
    right = batch["noise"] - batch["latents"]
    assert flow_matching_loss(_Knows(right), batch) == (0.0, 48)
    assert float(flow_matching_loss(_Knows(right + 0.5), batch)[0]) == 48 * 0.25


def test_flow_matching_feeds_the_interpolated_point_and_its_time() -> None:
    batch = _batch()
    model = _Knows(batch["noise"])
    flow_matching_loss(model, batch)
    torch.testing.assert_close(model.seen[0], 0.75 * batch["latents"][0] + 0.25 * batch["noise"][0])
    torch.testing.assert_close(model.seen[1], batch["noise"][1])
    assert model.timestep is batch["sigmas"]
