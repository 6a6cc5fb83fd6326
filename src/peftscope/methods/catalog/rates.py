"""How the learning rate of a card is written: default, range, and an honest source for each.

A rate is *published* (a folder of the public benchmark trained with it), *documented* (peft's documentation
names it) or *chosen* (nobody's figure but ours; the reason says how).
"""

from __future__ import annotations

from peftscope.methods.card import Rate, Source

__all__ = ["chosen", "documented", "published"]

DECADES = "one decade below the default and one above; nobody's search backs its ends"


def published(folder: str, default: float, low: float, high: float, range_reason: str = DECADES) -> Rate:
    """A rate the public benchmark trained with, by its folder (``MetaMathQA/lora/llama-3.2-3B-rank32``)."""
    return _rate(Source(kind="published run", where=folder), default, low, high, range_reason)


def documented(page: str, default: float, low: float, high: float, range_reason: str = DECADES) -> Rate:
    """A rate that peft's documentation names, by its page (``docs/source/package_reference/c3a.md``)."""
    return _rate(Source(kind="peft docs", where=page), default, low, high, range_reason)


def chosen(default: float, low: float, high: float, reason: str, range_reason: str = DECADES) -> Rate:
    """A rate without a source; ``reason`` says how it was chosen."""
    return _rate(Source(kind="unverified", where=reason), default, low, high, range_reason)


def _rate(source: Source, default: float, low: float, high: float, range_reason: str) -> Rate:
    # no search backs any range yet, so none can claim a better source
    range_source = Source(kind="unverified", where=range_reason)
    return Rate(default=default, source=source, low=low, high=high, range_source=range_source)
