"""What is predicted of a method, and how it stands to a limit; no torch here, so that it can be told anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

__all__ = ["DEFAULT_LENGTH", "Breakdown", "Footprint", "Forecast"]

DEFAULT_LENGTH = 512
"""Tokens in a sequence, or pixels of an image's side, where nothing says more."""


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Bytes by what they are for, at the moment of the peak."""

    weights: int = 0
    """The base's parameters and buffers."""
    adapter: int = 0
    """What the method put on it."""
    gradients: int = 0
    optimizer_state: int = 0
    """With the copies the optimizer's step works on."""
    activations: int = 0
    """With the batch, what the backward pass works on, and in scoring the keys and values."""
    outputs: int = 0
    """The model's outputs and the loss on them: whatever is as wide as they are."""
    beside: int = 0
    """What lies there throughout and is not the model's: cached inputs, a model that scores."""
    allocator: int = 0
    """Rounding and gaps."""

    def kept(self) -> int:
        """Sum of what is there with any batch and any length."""
        return self.weights + self.adapter + self.gradients + self.optimizer_state + self.beside

    def total(self) -> int:
        """Sum of all."""
        return sum(getattr(self, entry.name) for entry in fields(self))


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one method takes. Bytes are whole numbers; None is unknown, and ``reason`` says why."""

    method: str
    experiment: str | None = None
    num_trainable_params: int | None = None
    num_total_params: int | None = None
    checkpoint_bytes: int | None = None
    """Of the weight files; the most where ranks are learned."""
    checkpoint_least_bytes: int | None = None
    """The least; equal to ``checkpoint_bytes`` where nothing is learned that decides on shapes."""
    peak_train_bytes: int | None = None
    """What the accelerator's allocator reserves, or the process holds."""
    live_train_bytes: int | None = None
    """Live storage at its peak, without the allocator's rounding and gaps."""
    peak_eval_bytes: int | None = None
    """Of scoring, and of measuring what a trained model lost of what its base could do, whichever is larger."""
    peak_retention_bytes: int | None = None
    """Of the latter; None where it is not measured, not known by what, or done as scoring is."""
    breakdown: Breakdown | None = None
    """Of ``peak_train_bytes``."""
    eval_breakdown: Breakdown | None = None
    """Of ``peak_eval_bytes``."""
    flops_per_step: int | None = None
    """Floating-point operations of a training step."""
    layers_counted: tuple[int, ...] | None = None
    """Numbers of blocks that were counted for all; None where all were."""
    notes: tuple[str, ...] = ()
    reason: str | None = None
    """Why something is missing."""
    refused: bool = False
    """The method does not train here; the reason says why."""

    def step_time_s(self, tflops: float | None) -> float | None:
        """Seconds of a training step on a device that does 10¹² operations so many times a second.

        >>> Footprint(method="lora", flops_per_step=3 * 10**12).step_time_s(1.5)
        2.0
        """
        if tflops is None or self.flops_per_step is None:
            return None
        return self.flops_per_step / (tflops * 1e12)

    @property
    def peak_bytes(self) -> int | None:
        """Larger of the peaks of training and scoring."""
        known = [peak for peak in (self.peak_train_bytes, self.peak_eval_bytes) if peak is not None]
        return max(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A footprint against a limit."""

    footprint: Footprint
    fits: bool | None = None
    """None without a limit, or where the footprint is not known."""
    largest_batch: int | None = None
    """Where it does not fit: a batch that does, at the same length, the largest or near it; 0 where none does."""
    largest_length: int | None = None
    """Where it does not fit: a length that does, with the same batch, not far below the largest; 0 where none does."""
    fits_with: str | None = None
    """Where it does not fit: the fastest memory setting of the training with which it does; None where none does."""
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    """Peaks with the memory settings that were counted to find it, by their names."""
    checkpointed_bytes: int | None = None
    """The peak with activation checkpointing, where the method does not fit or every alternative was asked for; None
    where that was on or is not there."""
    nf4_bytes: int | None = None
    """The peak on a base packed as nf4, where neither the method nor a memory setting nor checkpointing fits or every
    alternative was asked for; None where the base is packed, cannot be, or that could not be enough."""
    both_bytes: int | None = None
    """Where neither helps: the peak with both, or with the one there is. Where every alternative was asked for: with
    both, None where there are not both."""
    both_batch: int | None = None
    """Where both do not help at this batch: the largest one that fits with both; 0 where none does."""
