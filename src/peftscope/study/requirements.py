"""What a choice has to satisfy: limits, preferences, and the method they have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from peftscope.analysis.within_limits import FORGETTING, SCORE, Limits, quantities_of
from peftscope.methods.capabilities import SERVERS
from peftscope.methods.catalog import cards
from peftscope.methods.needs import MERGEABLE, NEEDS, QUANTIZABLE
from peftscope.schema.amounts import bytes_of, number_of, seconds_of, signed_number_of
from peftscope.schema.metric import MetricSpec
from peftscope.schema.request import Request
from peftscope.study.metrics import known_metrics

__all__ = ["Amount", "Requirements", "commonest_method"]

Amount = str | float
"""As people write it (``12GB``, ``30min``, ``40%``), or a number in bytes, seconds or the metric's unit."""

READERS = {"bytes": bytes_of, "s": seconds_of}
"""How amounts of a unit are written; others are numbers."""


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """Limits filter, preferences rank; as they were given."""

    costs: Mapping[str, Amount | None] = field(default_factory=dict)
    """The most of each quantity."""
    keep_of_base: Amount | None = None
    """Share of the base's probability of general text that is to be kept: a limit on forgetting."""
    min_score: Amount | None = None
    mergeable: bool = False
    """Only what merges into the base."""
    quantizable: bool = False
    """Only what trains on a quantized base."""
    servable: str | Sequence[str] = ()
    """Only what these servers load as a LoRA, after it was converted; of ``SERVERS``."""
    prefer: str | Sequence[str] = ("score",)
    """Quantities, the most important first."""
    margin: Amount | None = None
    """Difference of scores that does not matter; 0.02 of a share where None."""
    have: str | None = None
    """Method the user has; relatives of it are cheap to try. LoRA where None."""

    def limits(self, request: Request) -> Limits:
        """The limits, their problems noted."""
        units = {metric.limit: metric.unit for metric in known_metrics() if metric.limit is not None}
        costs = {}
        for name, given in self.costs.items():
            request.check("max", "quantity", name, units)
            if name in units:
                costs[name] = request.amount(f"max_{name}", given, READERS.get(units[name], signed_number_of))
        share = self._kept_share(request)
        told = {n: v.strip() for n, v in {**self.costs, SCORE: self.min_score}.items() if isinstance(v, str)}
        if share is not None:
            costs[FORGETTING] = -math.log(share) + 0.0  # no minus before a zero
            told[FORGETTING] = f"{costs[FORGETTING]:.3f}, which keeps {100 * share:g} % of the base"
        return Limits(
            costs={name: value for name, value in costs.items() if value is not None},
            score=request.amount("min_score", self.min_score, number_of),
            needs=self._needs(request),
            is_merged=self.mergeable,
            keep_of_base=share,
            given=told,
        )

    def _needs(self, request: Request) -> tuple[str, ...]:
        """Names of what it has to be able to, those that there are not noted."""
        servers = request.names("servable", "server", self.servable, SERVERS)
        asked = {MERGEABLE: self.mergeable, QUANTIZABLE: self.quantizable, **dict.fromkeys(servers, True)}
        return tuple(name for name in NEEDS if asked.get(name))

    def _kept_share(self, request: Request) -> float | None:
        """The share of the base to keep, its problems noted; None where nothing or nothing right is asked for."""
        share = request.amount("keep_of_base", self.keep_of_base, number_of)
        if share is None:
            return None
        if self.costs.get(FORGETTING) is not None:
            request.note("keep_of_base", "limits forgetting, as the most forgetting does; give one of the two")
        if not 0.0 < share <= 1.0:
            text = f"{self.keep_of_base}; must be a share above 0 % and at most 100 %, such as 95%"
            request.note("keep_of_base", text)
            return None
        return share

    def preferences(self, request: Request) -> tuple[str, ...]:
        """The preferences, their problems noted."""
        known = quantities_of(known_metrics())
        names = request.names("prefer", "preference", self.prefer, known)
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                request.note("prefer", f"{name} is listed more than once")
        if not names:
            request.note("prefer", f"nothing given; take some of {', '.join(known)}")
        return tuple(names)

    def method(self, request: Request) -> str:
        """The method the user has, noted where there is none of that name."""
        name = self.have or commonest_method()
        request.check("have", "method", name, cards())
        return name

    def check_score(self, limits: Limits, metric: MetricSpec, request: Request) -> None:
        """Note a least score that no share can reach, once it is known what the score is.

        Raises:
            SpecError: It is over 1.
        """
        if limits.score is not None and metric.unit == "share" and limits.score > 1:
            text = f"{metric.name} is a share from 0 to 1; given {limits.score:g}, write {limits.score:g}%"
            request.note("min_score", text)
        request.end()


def commonest_method() -> str:
    """The method most others are variants of: the one nearly everybody has."""
    return Counter(card.variant_of for card in cards().values() if card.variant_of).most_common(1)[0][0]
