"""Every method we know, one card each; free of torch and peft."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from peftscope.errors import SpecError, unknown_name
from peftscope.methods.card import Card
from peftscope.methods.catalog import (
    frequency,
    lora,
    lora_init,
    lora_mixture,
    lora_optim,
    low_rank_other,
    none,
    orthogonal,
    prompt,
    scaling,
    selective,
    shared_random,
    sparse,
)
from peftscope.methods.catalog.narrow_rates import NARROW
from peftscope.methods.config_class import config_fields

__all__ = ["BASE", "FIRST_TO_TRY", "WHOLE", "card", "cards", "knob_names"]

BASE = "base"
"""Name of the untouched base, the zero line of a study."""

WHOLE = "full"
"""Name of the method that trains the base's own weights, all of them."""

FIRST_TO_TRY = ("lora", "rslora", "oft", "ia3")
"""Methods for a first comparison: the usual one, its best variant, another kind of update, the cheapest."""

_FAMILIES = (
    none,
    lora,
    lora_init,
    lora_optim,
    lora_mixture,
    low_rank_other,
    shared_random,
    orthogonal,
    frequency,
    scaling,
    sparse,
    selective,
    prompt,
)

# What peft keeps in a config for itself, or what is set through other parts of a study.
_NOT_KNOBS = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "inference_mode",
        "peft_type",
        "peft_version",
        "revision",
        "target_modules",
        "task_type",
    }
)


@lru_cache(maxsize=1)
def cards() -> dict[str, Card]:
    """All cards by name, in the order of their families.

    >>> cards()["dora"].variant_of
    'lora'
    """
    found: dict[str, Card] = {}
    for family in _FAMILIES:
        for entry in family.CARDS:
            assert entry.name not in found, f"two cards are called {entry.name}"
            narrow = NARROW.get(entry.name)
            rate = entry.rate if narrow is None or entry.rate is None else replace(entry.rate, narrow=narrow)
            found[entry.name] = replace(entry, rate=rate)
    return found


def card(name: str) -> Card:
    """The card of that name.

    Raises:
        SpecError: There is none; the message names the nearest match.
    """
    known = cards()
    if name not in known:
        raise SpecError("methods", [unknown_name("method", name, known)])
    return known[name]


def knob_names(name: str) -> tuple[str, ...]:
    """Fields of the method's ``peft`` config that a user may set, sorted.

    Fields that make the method what it is and target modules (set by ``targets``) are not among them.

    Raises:
        SpecError: There is no such method.
    """
    entry = card(name)
    if entry.peft_type is None:
        return ()
    # A sub-config both switches a variant on and has settings: it is on the card twice and stays a knob.
    fixed = {key for key in entry.config if key not in entry.knobs}
    return tuple(sorted(config_fields(entry.peft_type) - _NOT_KNOBS - fixed))
