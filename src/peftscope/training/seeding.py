"""The one place that seeds."""

from __future__ import annotations

from transformers import set_seed

__all__ = ["seed_everything"]


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch on every device.

    Called twice in a run with the run's own seed: just before the method is built, so that its
    initialisation depends on the seed and on nothing drawn earlier, and just before training, so that
    dropout does not depend on how many numbers the initialisation drew.
    """
    set_seed(seed)
