"""What the gain of the choice and its rivals costs in forgetting, in plain words."""

from __future__ import annotations

import math

from peftscope.analysis.price import Price, prices_of
from peftscope.views.phrasing import Phrasing
from peftscope.views.report.content import Topic
from peftscope.views.report.quantities import difference_text
from peftscope.views.units import loss_text

__all__ = ["price_topic"]

SHOWN = 8


def price_topic(phrasing: Phrasing) -> Topic | None:
    """A line for each, the choice first; None where nobody measured forgetting or no gain is detectable."""
    prices = prices_of(phrasing.found)
    lines = [_line(phrasing, price) for price in prices[:SHOWN]]
    lines += [f"and {len(prices) - SHOWN} more"] if len(prices) > SHOWN else []
    return Topic(title="What the gain costs in forgetting", lines=lines) if lines else None


def _line(phrasing: Phrasing, price: Price) -> str:
    metric = phrasing.verdict.metric
    text = f"{price.method}: {difference_text(metric, price.gain)}"
    if price.per_point is None:
        return f"{text}, and nothing forgotten ({loss_text(price.forgetting, signed=True)} nats a token)."
    unit = "a point" if metric.unit == "share" else f"for each of its gain in {metric.name.replace('_', ' ')}"
    kept = 100.0 * math.exp(-price.forgetting)
    return (
        f"{text} for {loss_text(price.forgetting)} nats of forgetting a token ({price.per_point:.2g} {unit}); it keeps "
        f"{kept:.1f} % of the base."
    )
