"""How widely methods are used: counts of June 2026 on the public hub, and what they say of a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["adoption_lines", "adoption_of"]

WHEN = "June 2026"


@dataclass(frozen=True, kw_only=True)
class _Count:
    """Things counted, and how many of them are of a method."""

    what: str
    """Of which these are, in words."""
    total: int
    by_method: Mapping[str, int]


_MODEL_CARDS = _Count(what="model cards that name exactly one method", total=20_834, by_method={"lora": 20_509})
_CHECKPOINTS = _Count(what="checkpoints for image models", total=10_000, by_method={"lora": 7_111, "dora": 11})
_LOCON = 363
"""Checkpoints of LoRA on convolutions too, which is no method of its own here."""
_CODE = {"lora": 71.3, "loha": 3.7, "adalora": 3.5}
"""Per cent of the pieces of code that import a method's config from ``peft``."""


def adoption_lines() -> list[str]:
    """What is known of all methods together, in sentences."""
    cards, checkpoints = _MODEL_CARDS, _CHECKPOINTS
    named, found, dora = (cards.by_method["lora"], checkpoints.by_method["lora"], checkpoints.by_method["dora"])
    identified = found + _LOCON + dora
    return [
        f"{WHEN}: of {cards.total:,} {cards.what}, {named:,} name LoRA ({_percent(named, cards.total)}).",
        f"Of {checkpoints.total:,} {checkpoints.what}, {found:,} are LoRA, {_LOCON} LoCon (LoRA on convolutions, too) "
        f"and {dora} DoRA; what the others are could not be told. Of those told, {_percent(found, identified)} are "
        "LoRA.",
        f"Of pieces of code that import a config from peft, {_CODE['lora']} % import LoRA's, {_CODE['loha']} % LoHa's "
        f"and {_CODE['adalora']} % AdaLoRA's.",
        "That many use a method says that it is known and that tools load it. It does not say that it is better.",
    ]


def adoption_of(name: str) -> str | None:
    """What is known of one method, in a sentence; None where it was not counted by itself.

    >>> adoption_of("loha")
    'June 2026: imported by 3.7 % of the pieces of code that import a config from peft.'
    """
    parts = [
        f"{count.by_method[name]:,} of {count.total:,} {count.what} ({_percent(count.by_method[name], count.total)})"
        for count in (_MODEL_CARDS, _CHECKPOINTS)
        if name in count.by_method
    ]
    if name in _CODE:
        parts.append(f"imported by {_CODE[name]} % of the pieces of code that import a config from peft")
    return f"{WHEN}: {'; '.join(parts)}." if parts else None


def _percent(part: int, total: int) -> str:
    """A share, with two digits where it is small."""
    share = 100 * part / total
    return f"{share:.1f} %" if share >= 1 else f"{share:.2f} %"
