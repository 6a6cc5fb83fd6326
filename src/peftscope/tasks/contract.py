"""What a task gives, checked against its contract, so that who breaks it is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from peftscope.errors import PlugInError
from peftscope.plugins import made_by
from peftscope.tasks.base import Batch, ExampleScore, HasLoss, Split, Task

__all__ = ["checked_loss", "checked_outcomes"]


def checked_loss(task: HasLoss, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """The loss of a batch: a scalar sum, and the number of labels, at least one.

    Raises:
        PlugInError: The task gave something else.
    """
    found: Any = task.loss(model, batch)
    if isinstance(found, tuple) and len(found) == 2:
        total, count = found
        if isinstance(total, Tensor) and total.ndim == 0 and isinstance(count, int) and count > 0:
            return total, count
        found = f"{_shown(total)} and {_shown(count)}"
    else:
        found = _shown(found)
    raise PlugInError(
        f"{_named(task)}: loss gave {found}; it is to give the sum as a scalar tensor, and the number of labels"
    )


def checked_outcomes(task: Task, split: Split, found: Any) -> Sequence[ExampleScore]:
    """The outcomes a task gave of a split: at least one for every example.

    Raises:
        PlugInError: The task gave something else.
    """
    if not isinstance(found, Sequence) or not all(isinstance(outcome, ExampleScore) for outcome in found):
        raise PlugInError(f"{_named(task)}: score gave {_shown(found)}; it is to give a sequence of outcomes")
    if len(found) < task.size(split):
        raise PlugInError(f"{_named(task)}: score gave {len(found)} outcomes for {task.size(split)} examples")
    return found


def _named(task: Any) -> str:
    return f"task {getattr(task, 'name', type(task).__name__)!r} of {made_by(task)}"


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return repr(value) if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"
