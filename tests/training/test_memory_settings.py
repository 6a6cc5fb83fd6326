"""Activation checkpointing under the names that releases of transformers have for it."""

from __future__ import annotations

from typing import Any

import pytest

from peftscope.errors import MethodRefused
from peftscope.schema.study import TrainSpec
from peftscope.training.memory_settings import prepare

ASKED = TrainSpec(checkpointing=True)


class Older:
    """A model of a release before the name changed."""

    supports_gradient_checkpointing = True

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any]) -> None:
        self.options = gradient_checkpointing_kwargs


class Newer(Older):
    """A model of a release that has both names, the older one with a warning."""

    def activation_checkpointing_enable(self, activation_checkpointing_kwargs: dict[str, Any]) -> None:
        self.newer_options = activation_checkpointing_kwargs


def test_gradient_checkpointing_is_enabled_through_either_method_name() -> None:
    older, newer = Older(), Newer()
    prepare(older, ASKED)
    prepare(newer, ASKED)
    assert older.options == newer.newer_options == {"use_reentrant": False}
    assert not hasattr(newer, "options")


def test_a_model_without_checkpointing_is_rejected_only_if_checkpointing_is_requested() -> None:
    prepare(object(), TrainSpec())
    with pytest.raises(MethodRefused, match="object has no activation checkpointing"):
        prepare(object(), ASKED)
