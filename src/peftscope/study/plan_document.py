"""What methods take on a model, as documents that a page draws: counted while it waits, or known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from peftscope.footprint.gpus import memory_note
from peftscope.views.units import count_text

if TYPE_CHECKING:
    from peftscope.footprint.footprint import Breakdown, Footprint, Forecast
    from peftscope.footprint.query import FootprintQuery

__all__ = ["PARTS", "plan_head", "plan_notes", "plan_row", "row_order"]

PARTS = {
    "weights": "weights of the base",
    "beside": "cached inputs and helpers",
    "adapter": "adapter",
    "optimizer_state": "optimizer states",
    "gradients": "gradients",
    "activations": "activations",
    "outputs": "outputs and the loss on them",
    "allocator": "rounding and gaps of the allocator",
}
"""Fields of a ``Breakdown`` with their labels, from what lies there throughout to what comes and goes."""
MEANT = (
    "A peak is the larger one of a training step with AdamW and of scoring, as an accelerator's allocator reserves it."
)


def plan_head(query: FootprintQuery, *, title: str, source: str, notes: Sequence[str] = ()) -> dict[str, Any]:
    """What is said once, before the methods.

    Args:
        query: Of any of the methods: base and circumstances are the same for all.
        title: What the model is called.
        source: Where its config is from.
        notes: What is to be known of it.
    """
    return {
        "title": title,
        "source": source,
        "lines": [*_size(query), query.described(), MEANT],
        "notes": list(notes),
        "parts": [{"name": name, "label": label} for name, label in PARTS.items()],
    }


def _size(query: FootprintQuery) -> list[str]:
    """Parameters of the base; none of a packed one, whose tensors hold several in a number."""
    parameters = list(query.profile.base().parameters())
    if not all(parameter.is_floating_point() for parameter in parameters):
        return []
    count = sum(parameter.numel() for parameter in parameters)
    return [f"{count_text(count).replace(' B', ' billion').replace(' M', ' million')} parameters"]


def plan_notes(query: FootprintQuery, memory: str | float | None = None) -> list[str]:
    """What is to be known of a base and of the memory there is.

    Args:
        query: Of any of the methods: how its base is packed, and what the policy for targets leaves out of it.
        memory: An amount as it was given; one written as cards are sold is not what they leave free.
    """
    from peftscope.methods.coverage import coverage

    told = memory_note(memory) if isinstance(memory, str) else None
    return [*query.profile.notes(), *coverage(query.profile.base()).lines(), *([] if told is None else [told])]


def plan_row(forecast: Forecast) -> dict[str, Any]:
    """A method's figures, in bytes; its parts add up to its peak."""
    found = forecast.footprint
    title = found.experiment or found.method
    phase, parts = _at_the_peak(found)
    return {
        "method": title,
        "peak": found.peak_bytes,
        "parts": [] if parts is None or found.peak_bytes is None else _adding_up(parts, found.peak_bytes),
        "phase": phase,
        "trainable": found.num_trainable_params,
        "checkpoint_bytes": found.checkpoint_bytes,
        "reason": None if found.reason is None else found.reason.removeprefix(f"{title}: "),
        "checkpointed": forecast.checkpointed_bytes,
        "nf4": forecast.nf4_bytes,
        "both": forecast.both_bytes,
        "largest_batch": forecast.largest_batch,
        "largest_seq_len": forecast.largest_length,
        "batch_with_both": forecast.both_batch,
        "notes": list(found.notes),
    }


def row_order(row: dict[str, Any]) -> tuple[bool, int, str]:
    """Smallest peaks first, methods without one last."""
    return row["peak"] is None, row["peak"] or 0, row["method"]


def _at_the_peak(found: Footprint) -> tuple[str, Breakdown | None]:
    """The phase whose peak counts, and what it is made of."""
    if (found.peak_eval_bytes or 0) > (found.peak_train_bytes or 0):
        return "eval", found.eval_breakdown
    return "train", found.breakdown


def _adding_up(parts: Breakdown, peak: int) -> list[int]:
    """Bytes in the order of ``PARTS``; what rounding lost is the allocator's, which holds all there is."""
    named = {name: int(getattr(parts, name)) for name in PARTS}
    named["allocator"] += peak - sum(named.values())
    return list(named.values())
