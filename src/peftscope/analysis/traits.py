"""What is known of a method before it is run, as far as decisions need it, and the settings it ran with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from peftscope.schema.record import RunRecord

__all__ = ["Traits", "setting_of"]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """One method: plain data made from its card."""

    name: str
    variant_of: str | None = None
    """Name of the method it is a variant of."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the config that make it this method (``use_dora=True``)."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Fields a user may change, with the card's defaults."""
    optimizer: str | None = None
    """Optimizer of its own; None trains with the study's."""
    starts_from_data: bool = False
    """Its start needs training data."""
    changes_base: bool = False
    """The base's own weights change."""
    abilities: frozenset[str] = frozenset()
    """Names of the needs it fulfils."""
    targets: str = "linear"
    """Policy that says which modules it adapts; ``linear`` is the one for all."""


def setting_of(record: RunRecord, traits: Mapping[str, Traits], key: str) -> Any:
    """A setting as it was built, or as it was asked for; None where neither says."""
    method = record.spec.method
    built = record.method_facts.peft_config if record.method_facts is not None else None
    for source in (built, method.peft_config, method.knobs, traits[method.name].knobs):
        if source is not None and key in source:
            return source[key]
    return None
