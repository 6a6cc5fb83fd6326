"""A recommendation with what its figures are: how each of them is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.recommendation import Recommendation
from peftscope.analysis.verdict import Candidate, Pair, Verdict
from peftscope.analysis.within_limits import SCORE
from peftscope.schema.metric import MetricSpec
from peftscope.views.report.quantities import difference_text, reading
from peftscope.views.units import metric_text

__all__ = ["Phrasing"]


@dataclass(frozen=True, kw_only=True)
class Phrasing:
    """A recommendation with what its figures are."""

    found: Recommendation
    specs: Mapping[str, MetricSpec]

    @property
    def verdict(self) -> Verdict:
        """What it rests on."""
        return self.found.verdict

    def label(self, quantity: str) -> str:
        """What a limit or preference is called in texts."""
        spec = self._spec(quantity)
        return quantity if spec is None else spec.title

    def score(self, candidate: Candidate) -> str:
        """The metric's name and the score with its interval."""
        read = reading(candidate, self.verdict.metric, score=self.verdict.metric)
        name = self.verdict.metric.name.replace("_", " ")
        return f"{name} {read.text}" if read is not None else f"no {name}"

    def cost(self, candidate: Candidate, quantity: str) -> str | None:
        """A quantity of a candidate, such as ``1.2 GB``; None where it was not measured."""
        name = self.found.metrics.get(quantity)
        figure = candidate.metrics.get(name) if name is not None else None
        if name is None or figure is None:
            return None
        return self.amount(quantity, figure.mean)

    def amount(self, quantity: str, value: float) -> str:
        """A value of a quantity, with its unit."""
        if quantity == SCORE:
            return metric_text(self.verdict.metric, value)
        return metric_text(self.specs[self.found.metrics[quantity]], value)

    def bound(self, quantity: str, value: float) -> str:
        """A limit, as it was given."""
        given = self.found.limits.given.get(quantity)
        if given is not None:
            return given
        spec = self.verdict.metric if quantity == SCORE else self._spec(quantity)
        return f"{value:g}" if spec is None else metric_text(spec, value)

    def setting(self, quantity: str) -> str:
        """The setting of a study that has a quantity measured; empty where none has to be set."""
        spec = self._spec(quantity)
        return "" if spec is None else spec.setting

    def _spec(self, quantity: str) -> MetricSpec | None:
        """The metric a quantity is read from, or would be."""
        known = (spec for spec in self.specs.values() if spec.limit == quantity)
        return self.specs[self.found.metrics[quantity]] if quantity in self.found.metrics else next(known, None)

    def difference(self, pair: Pair, *, turned: bool = False) -> str:
        """Of the scores of a pair, the first's less the second's or turned round, with its interval."""
        given = pair.difference
        low, high = (None if end is None else -end for end in (given.high, given.low))
        return difference_text(self.verdict.metric, Estimate(-given.value, low, high) if turned else given)

    def size(self, difference: float) -> str:
        """Of a difference of scores, without its sign, such as ``2.0 points``."""
        return difference_text(self.verdict.metric, Estimate(abs(difference), None, None)).lstrip("+")
