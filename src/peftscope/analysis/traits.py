"""What is known of a technique before it is run, as far as decisions need it: plain data made from its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Traits"]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """One technique."""

    name: str
    variant_of: str | None = None
    """Name of the technique it is a variant of."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the config that make it this technique (``use_dora=True``)."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Fields a user may change, with the card's defaults."""
    optimizer: str | None = None
    """Optimizer of its own; None trains with the study's."""
    starts_from_data: bool = False
    """Its start needs training data."""
    changes_base: bool = False
    """The base's own weights change."""
    mergeable: bool = True
    """It can be merged into the base, with the same outputs."""
    targets: str = "linear"
    """Policy that says which modules it adapts; ``linear`` is the one for all."""
