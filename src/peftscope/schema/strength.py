"""What measuring a trained adapter at a strength between 0 and 1 leaves behind."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from peftscope.schema.base import Frozen
from peftscope.schema.record import ExampleOutcome

__all__ = ["BASE_KEY", "StrengthRecord"]

BASE_KEY = "base"
"""In the place of a run's id at strength 0, where the base is the same for all runs."""


class StrengthRecord(Frozen):
    """A base with a part of an adapter's change in its weights, scored as the adapter's run was."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal["peftscope.strength/1"] = Field(default="peftscope.strength/1", alias="schema")
    key: str
    """Id of the adapter's run; ``base`` at strength 0, where all runs have the same splits."""
    strength: float
    """Share of the change that is in the weights: 0 is the base, 1 the adapter."""
    made_of: dict[str, Any]
    """What decides the figures: hashes of the base and the data, and when the adapter was trained."""
    valid: tuple[ExampleOutcome, ...]
    """Of the validation split, on which a strength is chosen."""
    test: tuple[ExampleOutcome, ...]
    """Of the test split, on which it is reported."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """What the task measures against the untouched base: ``forgetting``, ``drift``, …"""
    measured_at: str
