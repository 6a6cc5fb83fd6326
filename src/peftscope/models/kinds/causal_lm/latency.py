"""Latency: how long one decode step takes."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from transformers import StoppingCriteria

from peftscope.models.device import synchronize
from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.causal_lm.generation import greedy_tokens

__all__ = ["decode_latency"]


def decode_latency(
    model: nn.Module,
    *,
    batch_size: int,
    prompt_tokens: int = 64,
    steps: int = 10,
    warmup: int = 2,
    seed: int = 0,
) -> float:
    """Median time of a greedy decode step with a key-value cache, in seconds.

    The window of a step goes from one token of the whole batch to the next, device waited for at both ends,
    so it holds the forward pass and the choice of the token. Prefill and warm-up are outside.

    Args:
        model: A causal language model, plain or as a ``PeftModel``; left in the mode it was in.
        batch_size: Sequences decoded together, all of the same length.
        prompt_tokens: Length of the prompts: random ids, since what they say does not change the time.
        steps: Steps the median is taken over.
        warmup: Steps before these.
        seed: Of the prompts.
    """
    base: Any = model
    device = torch.device(base.device)
    ids = torch.randint(
        base.config.get_text_config().vocab_size,
        (batch_size, prompt_tokens),
        generator=torch.Generator().manual_seed(seed),
    ).to(device)
    stamps = _Stamps(device)
    num_tokens = 1 + warmup + steps
    with evaluating(model):
        greedy_tokens(
            model,
            ids,
            torch.ones_like(ids),
            max_new_tokens=num_tokens,
            min_new_tokens=num_tokens,  # no row may end early
            stopping=[stamps],
            pad_token_id=0,
        )
    assert len(stamps.times) == num_tokens, "a decode step was not seen"
    durations = [after - before for before, after in zip(stamps.times, stamps.times[1:])]
    return statistics.median(durations[warmup:])


class _Stamps(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped
    """Notes when each token was there; never stops anything."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        synchronize(self.device)
        self.times.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
