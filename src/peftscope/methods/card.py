"""What we know of a method before running it: the card, and the hooks by which it differs from the rest.

Cards are data, free of torch and peft, so that listing them takes milliseconds. What a method needs
besides its config (an optimizer, a call after each step, data for its initialisation) is named on the card
and implemented in :mod:`peftscope.methods.hooks` and its neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Card", "Paper", "Rate", "Source"]

Family = Literal[
    "low-rank",
    "orthogonal",
    "frequency",
    "scaling",
    "sparse",
    "prompt",
    "mixture",
    "shared-random",
    "selective",
    "none",
]

Targets = Literal["linear", "feedforward-aware", "norms", "embeddings", "attention", "own", "all", "none"]
"""``linear`` is the one policy (linear layers of the blocks, head excluded); the others are exceptions."""


NARROW_WIDTH, WIDE_WIDTH = 256, 3072
"""Hidden sizes between which a search's first learning rate is interpolated."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a figure on a card comes from."""

    kind: Literal["paper", "peft docs", "published run", "unverified"]
    where: str
    """Section, page or file; for ``unverified``, how the value was chosen."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The paper a method comes from."""

    title: str
    arxiv: str | None
    """arXiv number such as ``2106.09685``; None where there is none."""
    year: int


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Default learning rate and the range a search covers, each with its source."""

    default: float
    source: Source
    low: float
    high: float
    range_source: Source
    narrow: float | None = None
    """Best on a base of width 256, measured (``catalog.narrow_rates``); None where it was not."""

    def centre(self, width: int | None) -> float:
        """Where a search begins on a base of that width: its hidden size; None where it is not known.

        On a straight line, both on log scales, between what was best at width 256 and the default, which is the public
        benchmark's at width 3072 or follows it; beyond these as at them. Without a measurement or a width, the middle
        of the range.
        """
        if width is None or self.narrow is None:
            return math.sqrt(self.low * self.high)
        share = math.log(width / NARROW_WIDTH) / math.log(WIDE_WIDTH / NARROW_WIDTH)
        share = min(1.0, max(0.0, share))
        return float(self.narrow ** (1.0 - share) * self.default**share)


@dataclass(frozen=True, kw_only=True)
class Card:
    """One method."""

    name: str
    """Our name: lower case, words joined by ``-``; the one users know (``lora``, ``rslora``, ``lora-fa``)."""
    title: str
    """As its authors write it."""
    family: Family
    peft_type: str | None
    """Member of ``peft.PeftType``; None for the base and for full fine-tuning."""
    variant_of: str | None = None
    """Name of the card this is a variant of; None for a type's plain entry."""
    summary: str
    """One sentence in our own words."""
    paper: Paper | None
    config: dict[str, Any] = field(default_factory=dict)
    """Fields of the ``peft`` config that make it this method; not to be changed (``use_dora=True``)."""
    knobs: dict[str, Any] = field(default_factory=dict)
    """Fields a user may change, with our defaults."""
    rate: Rate | None = None
    """None where nothing is trained."""
    targets: Targets = "linear"
    optimizer: str | None = None
    """Optimizer of its own, a key of ``methods.optimizers``; None takes the study's AdamW."""
    step_hook: str | None = None
    """Call after each optimizer step, a key of ``methods.hooks``."""
    penalty: str | None = None
    """Term added to the training loss, a key of ``methods.hooks``; never part of a measured loss."""
    init: str | None = None
    """Initialisation that needs more than the config, such as data; a key of ``methods.initialisation``."""
    virtual_tokens: bool = False
    """Takes room in the context (prompt learning)."""
    needs: tuple[str, ...] = ()
    """What it needs besides, in words."""
    limits: tuple[str, ...] = ()
    """Known limits, in words."""
    refused: str | None = None
    """Why it cannot run as a plain entry; None where it can."""
    changes_base: bool = False
    """The base's own weights change (full fine-tuning, PiSSA, OSF, …)."""

    @property
    def resumes(self) -> bool:
        """Whether a paused training goes on from its weights and optimizer. What a call after each step gathers
        (importance scores) or a penalty draws (MonteCLoRA's samples) is in neither, so that such a method starts
        from its first step again, which gives the same and costs the time.
        """
        return self.step_hook is None and self.penalty is None

    @property
    def follows_policy(self) -> bool:
        """Whether it adapts what the one policy for targets names."""
        return self.targets in ("linear", "feedforward-aware")

    @property
    def reaches_past_layers(self) -> bool:
        """Whether it changes more than the weights of layers: inputs, caches or attention, which some models lack."""
        return self.virtual_tokens or self.targets in ("own", "attention")

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return self.rate is not None and self.refused is None
