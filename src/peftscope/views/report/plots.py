"""Data -> Plotly figures as plain mappings; the one of the front is drawn in the browser, for the metrics chosen there.

Nothing here has a colour of paper, text or grid: the page's style sheet gives these, for light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from peftscope.views.line import shorten
from peftscope.views.report.curves import range_of

__all__ = ["plots_of"]

Figure = dict[str, Any]
LABEL_CELLS, NARROW_CELLS = 30, 15
SHOWN_AT_FIRST = 8
"""Methods drawn at first where lines cover one another; the page's legend turns the others on."""
ROW_PX = 26
_AXIS: Mapping[str, Any] = {"automargin": True, "zeroline": False, "ticks": "outside", "fixedrange": False}


def plots_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Every figure of the page by the id of its place."""
    figures: dict[str, Any] = {}
    if data["tiers"]["points"]:
        figures["tiers"] = _forest(data)
    if any(course["loss"]["steps"] for course in data["training"]):
        figures["training-loss"] = _training(data, "loss", "training loss")
    if any(course["score"]["steps"] for course in data["training"]):
        figures["training-score"] = _training(data, "score", "validation score")
    if data["best"]:
        figures["best"] = _best(data)
    for kind, title in (("score", "validation score"), ("loss", "validation loss")):
        span = range_of(t[kind] for entry in data["learning_rates"] for t in entry["trials"])
        if span is None:
            continue
        for index, entry in enumerate(data["learning_rates"]):
            figures[f"rates-{kind}-{index}"] = _rates(entry, kind, title, span, data["methods"][entry["method"]])
    return figures


def _layout(**more: Any) -> dict[str, Any]:
    return {
        "autosize": True,
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "hoverlabel": {"bgcolor": "#1f2933", "bordercolor": "#1f2933", "font": {"color": "#ffffff"}, "align": "left"},
        "showlegend": False,
        **more,
    }


def html_text(text: str) -> str:
    """A text as Plotly shows it letter by letter: it reads some HTML and ``%{…}`` in labels."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("{", "&#123;")
    return escaped.replace("\r", "").replace("\n", "<br>")


def _symbol(mark: Mapping[str, Any], *, hollow: bool) -> str:
    return f"{mark['symbol']}-open" if hollow else str(mark["symbol"])


def _forest(data: Mapping[str, Any]) -> Figure:
    """Score with its interval by method, best first; a line between tiers."""
    points, methods = data["tiers"]["points"], data["methods"]
    traces = []
    for row, p in enumerate(points):
        mark = methods[p["method"]]
        error = None
        if p["low"] is not None and p["high"] is not None:
            error = {
                "type": "data", "symmetric": False, "array": [p["high"] - p["value"]],
                "arrayminus": [p["value"] - p["low"]], "color": mark["color"], "thickness": 2, "width": 4,
            }  # fmt: skip
        tier = f"tier {p['tier']}" if p["tier"] else "no tier"
        text = f"{p['method']}\n{p['text']}\n{tier}, {p['spread']}{p['risk']}"
        traces.append(
            {
                "type": "scatter", "mode": "markers", "x": [p["value"]], "y": [row], "error_x": error,
                "marker": {"color": mark["color"], "symbol": _symbol(mark, hollow=p["single"]), "size": 11,
                           "line": {"width": 2 if p["single"] else 0, "color": mark["color"]}},
                "hovertemplate": html_text(text) + "<extra></extra>",
            }
        )  # fmt: skip
    shapes, notes = _tier_lines(points)
    base = next((p["value"] for p in points if p["is_base"]), None)
    if base is not None:
        shapes.append(
            {"type": "line", "x0": base, "x1": base, "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
             "line": {"color": "#848b94", "dash": "dot", "width": 1}}
        )  # fmt: skip
    wrong = [" ⚠" if p["risk"] else "" for p in points]
    labels = [html_text(shorten(p["method"], LABEL_CELLS) + mark) for p, mark in zip(points, wrong)]
    narrow = [html_text(shorten(p["method"], NARROW_CELLS) + mark) for p, mark in zip(points, wrong)]
    layout = _layout(
        meta={"narrow": narrow},
        height=70 + ROW_PX * len(points),
        margin={"l": 8, "r": 56, "t": 8, "b": 48},
        xaxis={**_AXIS, "title": {"text": html_text(data["tiers"]["axis"])}},
        yaxis={**_AXIS, "tickvals": list(range(len(points))), "ticktext": labels, "ticks": "",
               "range": [len(points) - 0.4, -0.6], "showgrid": False, "fixedrange": True},
        shapes=shapes,
        annotations=notes,
    )  # fmt: skip
    return {"data": traces, "layout": layout}


def _tier_lines(points: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    before: int | None = None
    for row, point in enumerate(points):
        if point["tier"] == before and row:
            continue
        before = point["tier"]
        if row:
            shapes.append(
                {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": row - 0.5, "y1": row - 0.5,
                 "line": {"color": "#848b94", "width": 1}}
            )  # fmt: skip
        if before is not None:
            notes.append(
                {"xref": "paper", "x": 1, "y": row, "xanchor": "left", "text": f"tier {before}", "showarrow": False,
                 "xshift": 8, "font": {"size": 12}}
            )  # fmt: skip
    return shapes, notes


def _training(data: Mapping[str, Any], kind: str, title: str) -> Figure:
    """A line per run; the seeds of a method share its colour. ``meta`` is the entry of the page's legend."""
    traces: list[dict[str, Any]] = []
    order: list[str] = []
    for course in data["training"]:
        line = course[kind]
        if not line["steps"]:
            continue
        method = course["method"]
        if method not in order:
            order.append(method)
        mark = data["methods"][method]
        ended = "" if course["status"] == "ok" else f", {course['status']}"
        name = html_text(f"{method}, seed {course['seed']}{ended}")
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers" if len(line["steps"]) <= 40 else "lines",
                "x": line["steps"], "y": line["values"], "meta": method,
                "line": {"color": mark["color"], "width": 1.6, "dash": "solid" if course["status"] == "ok" else "dot"},
                "marker": {"symbol": mark["symbol"], "size": 6, "color": mark["color"]},
                "visible": order.index(method) < SHOWN_AT_FIRST,
                "hovertemplate": f"{name}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
            }
        )  # fmt: skip
    return {"data": traces, "layout": _courses("optimizer step", title)}


def _best(data: Mapping[str, Any]) -> Figure:
    traces = []
    for number, entry in enumerate(data["best"]):
        mark = data["methods"][entry["method"]]
        trials = list(range(1, len(entry["values"]) + 1))
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": trials, "y": entry["values"],
                "meta": entry["method"],
                "line": {"color": mark["color"], "shape": "hv", "width": 1.8},
                "marker": {"symbol": mark["symbol"], "size": 7, "color": mark["color"]},
                "visible": number < SHOWN_AT_FIRST,
                "hovertext": [_best_text(entry, number) for number in range(len(trials))], "hoverinfo": "text",
            }
        )  # fmt: skip
    layout = _courses("trials", "best validation score so far")
    layout["xaxis"]["dtick"] = 1
    return {"data": traces, "layout": layout}


def _best_text(entry: Mapping[str, Any], place: int) -> str:
    value, expected = entry["values"][place], entry["expected"][place]
    lines = [entry["method"], f"after {place + 1} trials: {'none yet' if value is None else f'{value:.4g}'}"]
    if expected is not None:
        lines.append(f"expected over all orders of them: {expected:.4g}")
    return html_text("\n".join(lines))


def _courses(x: str, y: str) -> dict[str, Any]:
    return _layout(
        height=380,
        margin={"l": 60, "r": 16, "t": 12, "b": 48},
        xaxis={**_AXIS, "title": {"text": x}},
        yaxis={**_AXIS, "title": {"text": y}},
    )


def _rates(entry: Mapping[str, Any], kind: str, title: str, span: Sequence[float], mark: Mapping[str, Any]) -> Figure:
    """One method's trials by learning rate; one that has no value stands at the lower end of the axis."""
    trials, color = entry["trials"], mark["color"]
    done = [t for t in trials if t["state"] == "done" and t[kind] is not None]
    lost = [t for t in trials if t not in done]
    floor = span[0] if kind == "score" else span[1]
    chosen = [t for t in done if t["chosen"]]
    trace = {"type": "scatter", "hovertemplate": "%{customdata}<extra></extra>"}
    traces = [
        {**trace, "mode": "markers", **_xy(done, kind, floor),
         "marker": {"symbol": mark["symbol"], "size": 8, "color": color}},
        {**trace, "mode": "markers+text", **_xy(lost, kind, floor),
         "text": [f"step {t['stopped_at']}" if t["stopped_at"] is not None else t["state"] for t in lost],
         "textposition": "top center" if kind == "score" else "bottom center",
         "textfont": {"size": 11}, "cliponaxis": False,
         "marker": {"symbol": "x-thin", "size": 9, "line": {"color": color, "width": 2.5}}},
        {**trace, "mode": "markers", **_xy(chosen, kind, floor), "hoverinfo": "skip",
         "marker": {"symbol": "circle-open", "size": 19, "color": color, "line": {"width": 2.5}}},
    ]  # fmt: skip
    traces[2].pop("hovertemplate")
    ended = [mean for mean in entry["means"] if mean[kind] is not None]
    line = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    traces.append({**line, "x": [m["rate"] for m in ended], "y": [m[kind] for m in ended],
                   "line": {"color": color, "width": 1.8}})  # fmt: skip
    if kind == "loss":
        short = entry["short"]
        traces.append({**line, "x": [s["rate"] for s in short], "y": [s["loss"] for s in short],
                       "line": {"color": color, "width": 1.2, "dash": "dot"}})  # fmt: skip
    layout = _layout(
        height=210,
        margin={"l": 48, "r": 14, "t": 8, "b": 40},
        xaxis={**_AXIS, "type": "log", "title": {"text": "learning rate"}, **_decades([t["rate"] for t in trials])},
        yaxis={**_AXIS, "title": {"text": title}, "range": list(span), "nticks": 5},
        shapes=_bracket(entry, color),
    )
    return {"data": traces, "layout": layout}


def _bracket(entry: Mapping[str, Any], color: str) -> list[dict[str, Any]]:
    """The rates between which the best lies, as a band, and the one that was chosen."""
    lower, higher = entry["bracket"]
    whole = {"yref": "paper", "y0": 0, "y1": 1, "xref": "x", "layer": "below"}
    shapes: list[dict[str, Any]] = []
    if lower is not None and higher is not None:
        shapes.append(
            {
                **whole,
                "type": "rect",
                "x0": lower,
                "x1": higher,
                "fillcolor": color,
                "opacity": 0.12,
                "line": {"width": 0},
            }
        )
    if entry["rate"] is not None:
        dashed = {"color": color, "width": 1.2, "dash": "dash"}
        shapes.append({**whole, "type": "line", "x0": entry["rate"], "x1": entry["rate"], "line": dashed})
    return shapes


def _decades(rates: Sequence[float]) -> dict[str, Any]:
    """Ticks at 1 and 3 of each power of ten, and room on both sides."""
    if not rates:
        return {}
    low, high = math.log10(min(rates)) - 0.25, math.log10(max(rates)) + 0.25
    every = (1, 3) if high - low < 2.4 else (1,)
    ticks = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in every]
    ticks = [tick for tick in ticks if low + 0.1 <= math.log10(tick) <= high - 0.1]
    return {"range": [low, high], "tickvals": ticks, "ticktext": [f"{tick:.0e}" for tick in ticks]}


def _xy(trials: Sequence[Mapping[str, Any]], kind: str, floor: float) -> dict[str, Any]:
    return {
        "x": [t["rate"] for t in trials],
        "y": [floor if t[kind] is None else t[kind] for t in trials],
        "customdata": [html_text(t["text"]) for t in trials],
    }
