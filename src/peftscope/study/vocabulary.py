"""The names a study may use, gathered from the rooms that know them."""

from __future__ import annotations

from functools import partial

from peftscope.methods.catalog import cards, knob_names
from peftscope.schema.reader import Vocabulary
from peftscope.tasks.registry import options_model, task_names

__all__ = ["vocabulary"]


def vocabulary() -> Vocabulary:
    """Methods, tasks and settings of this installation."""
    return Vocabulary(
        methods=cards(), tasks={name: partial(options_model, name) for name in task_names()}, knobs=knob_names
    )
