"""A method between its base and its adapter, in a table, a picture of letters and plain words."""

from __future__ import annotations

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.strength_curve import Point, StrengthCurve
from peftscope.schema.metric import MetricSpec
from peftscope.views.report.quantities import difference_text, estimate_text
from peftscope.views.table import TextTable
from peftscope.views.units import DASH, interval_text, loss_text

__all__ = ["curve_picture", "point_text", "strength_lines", "strength_table"]

BAR = 20
"""Letters that stand for all of a gain, or of the base."""


def strength_table(curve: StrengthCurve, metric: MetricSpec) -> TextTable:
    """Every measured strength: score, share of the gain, forgetting, share of the base; with intervals."""
    percent = metric.unit == "share"
    name = metric.name.replace("_", " ")
    headings = ["strength", f"{name} {'% ' if percent else ''}[95 %]"]
    with_gain, with_base = curve.is_gain_detectable, curve.full.forgetting is not None
    headings += ["gain kept % [95 %]"] if with_gain else []
    headings += ["forgetting [95 %]", "base kept % [95 %]"] if with_base else []
    cells = []
    for point in curve.points:
        row = [f"{point.strength:g}", interval_text(point.score.value, point.score.interval, percent=percent)]
        row += [_share(point.kept)] if with_gain else []
        row += [_nats(point.forgetting), _share(point.base_kept)] if with_base else []
        cells.append(row)
    return TextTable(title="strengths", headings=headings, cells=cells)


def curve_picture(curve: StrengthCurve) -> list[str]:
    """The curve as bars: what each strength keeps of the gain, and of the base."""
    if not curve.is_gain_detectable or curve.full.base_kept is None:
        return []
    width = max(len(f"{point.strength:g}") for point in curve.points)
    lines = [f"{'':{width}}  {'gain kept':{BAR}}  base kept"]
    for point in curve.points:
        bars = [_bar(share) for share in (point.kept, point.base_kept)]
        lines.append(f"{point.strength:<{width}g}  {bars[0]:{BAR}}  {bars[1]}".rstrip())
    return lines


def strength_lines(curve: StrengthCurve, metric: MetricSpec, method: str) -> list[str]:
    """What the curve says: the strength that keeps a share of the gain, what it costs, and what both rest on."""
    full = curve.full
    if not curve.is_gain_detectable:
        return [
            f"The gain of {method} over the base, {difference_text(metric, full.gain)}, is not detectable, so that a "
            "share of it means nothing: no strength is chosen."
        ]
    wanted = f"{100 * curve.keep:g} %"
    if curve.strength is None or curve.chosen is None:
        return [
            f"On the {curve.num_valid} validation examples the gain is not detectable, so that no strength that keeps "
            f"{wanted} of it can be chosen there; it is not chosen on the test split. Take more validation examples."
        ]
    chosen = curve.chosen
    lines = [f"Strength {chosen.strength:.2g} {_costs(chosen, full)}."]
    low, high = curve.strength.low, curve.strength.high
    lines.append(
        f"It is the least that keeps {wanted} on the {curve.num_valid} validation examples"
        + (f" (95 %: from {low:g} to {high:g})" if low is not None and high is not None else "")
        + f"; its figures are of the {curve.num_test} test examples, which chose nothing."
    )
    if not chosen.is_measured:
        lines.append(
            "It lies between two measured strengths, on a straight line from one to the other; "
            f"'--strengths {chosen.strength:.2g}' measures it there."
        )
    return lines


def point_text(metric: MetricSpec, method: str, point: Point) -> str:
    """A method at a strength, such as ``lora at strength 0.6 keeps 95.3 % of the base and 81.0 % of its gain``."""
    text = f"{method} at strength {point.strength:.2g}"
    if point.base_kept is not None:
        text += f" keeps {_percent(point.base_kept)} of the base"
    if point.kept is not None:
        text += f" and {_percent(point.kept)} of its gain"
    between = "" if point.is_measured else ", on a straight line between two measured strengths"
    return f"{text}: {metric.name.replace('_', ' ')} {estimate_text(metric, point.score)}{between}"


def _costs(chosen: Point, full: Point) -> str:
    """What a strength keeps and costs, beside the whole adapter."""
    text = "keeps " + ("an unknown share" if chosen.kept is None else _percent(chosen.kept)) + " of the gain"
    if chosen.forgetting is None or full.forgetting is None or chosen.base_kept is None or full.base_kept is None:
        return text
    text += f" and costs {chosen.forgetting.value:.3f} nats of forgetting instead of {full.forgetting.value:.3f}"
    kept, all_of_it = (100 * p.value for p in (chosen.base_kept, full.base_kept))
    return f"{text}: it keeps {kept:.1f} % of the base instead of {all_of_it:.1f} %"


def _percent(share: Estimate) -> str:
    """A share with its interval."""
    text = f"{100 * share.value:.1f} %"
    if share.low is None or share.high is None or share.low == share.high:
        return text
    return f"{text} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _share(share: Estimate | None) -> str:
    return DASH if share is None else interval_text(share.value, _open(share), percent=True)


def _nats(value: Estimate | None) -> str:
    if value is None:
        return DASH
    text, interval = loss_text(value.value, signed=True), _open(value)
    return text if interval is None else f"{text} [{loss_text(interval[0])}, {loss_text(interval[1])}]"


def _open(estimate: Estimate) -> list[float] | None:
    """An interval that has a width."""
    interval = estimate.interval
    return None if interval is None or interval[0] == interval[1] else interval


def _bar(share: Estimate | None) -> str:
    return "█" * round(BAR * min(max(0.0 if share is None else share.value, 0.0), 1.0))
