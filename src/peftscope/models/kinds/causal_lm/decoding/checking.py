"""Whether a model's answers come out the same the fast way: tried, never known by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FAILURES", "Different", "Unsuited", "require_close", "require_plain_greedy"]


class Unsuited(Exception):  # no error a user meets: another way is taken
    """A model cannot be decoded this way."""


class Different(Unsuited):
    """Its logits are not those of a plain forward pass."""


FAILURES = (Unsuited, TypeError, ValueError, AttributeError, KeyError, IndexError, NotImplementedError, RuntimeError)
"""What a model that does not take our cache, positions or embeddings raises at the first passes."""

TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-4}
"""Of the logits' spread; batches of another shape move sums by last bits."""
HALF_TOLERANCE = 3e-2

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (None, 1.0),
    "encoder_repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "guidance_scale": (None, 1, 1.0),
    "bad_words_ids": (None,),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "sequence_bias": (None,),
    "exponential_decay_length_penalty": (None,),
    "watermarking_config": (None,),
    "stop_strings": (None,),
    "max_time": (None,),
    "prompt_lookup_num_tokens": (None,),
    "remove_invalid_values": (None, False),
}
"""Settings of ``generation_config`` that change greedy answers, and the values with which they do not."""


def require_plain_greedy(model: nn.Module) -> None:
    """Raise ``Unsuited`` where the model's author asks for more than the likeliest token."""
    config = getattr(model, "generation_config", None)
    for name, neutral in NEUTRAL.items():
        if getattr(config, name, None) not in neutral:
            raise Unsuited(f"generation_config sets {name}")


def require_close(given: Tensor, wanted: Tensor, *, is_rounded: bool = False) -> None:
    """Raise ``Unsuited`` where two rows of logits, of shape (positions, vocabulary), are not nearly the same.

    Args:
        given: Of the fast way.
        wanted: Of a plain forward pass.
        is_rounded: Whether weights or activations are quantized, so that a last bit may become a step of rounding.
    """
    allowed = HALF_TOLERANCE if is_rounded else TOLERANCES.get(wanted.dtype, HALF_TOLERANCE)
    given, wanted = given.float(), wanted.float()
    finite = torch.isfinite(wanted)
    spread = (wanted[finite].max() - wanted[finite].min()).item() if finite.any() else 0.0
    difference = torch.where(given == wanted, 0.0, (given - wanted).abs()).max().item()
    if not difference <= allowed * spread + 1e-6:
        raise Different(f"logits differ by {difference:.2g} from those of a plain forward pass")
