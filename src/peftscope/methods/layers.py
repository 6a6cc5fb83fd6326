"""Whether a method treats some blocks of a model otherwise than the rest."""

from __future__ import annotations

import re
from typing import Any

from peftscope.methods.build import Built

__all__ = ["picks_layers"]

_PICKING = ("layers_to_transform", "adapter_layers", "stride_A")
"""Fields of ``peft`` configs that name blocks, say how many from the top, or how many share what they learn."""


def picks_layers(built: Built) -> bool:
    """Whether the config names blocks, by a number of its own or in the name of a module.

    Where it does, a model of fewer blocks would get other ones. Modules that the policy for targets names in full are
    all there are of their kind, at any number of blocks.
    """
    config = built.peft_config or {}
    naming_keys = ("_pattern", "_parameters", "_save", *(() if built.follows_policy else ("_modules",)))
    naming = [value for key, value in config.items() if key.endswith(naming_keys)]
    return any(config.get(name) is not None for name in _PICKING) or any(map(_names_a_number, naming))


def _names_a_number(value: Any) -> bool:
    """Whether a name or pattern in a setting has a number in its middle; ``to_out.0`` has none."""
    if isinstance(value, dict):
        return any(map(_names_a_number, value))
    if isinstance(value, list):
        return any(map(_names_a_number, value))
    return isinstance(value, str) and re.search(r"\.[\[(]*\d.*\.", value) is not None
