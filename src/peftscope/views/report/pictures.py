"""Data -> pictures of the main figures, for papers and slides; the page draws the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from peftscope.views.line import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["pictures_of"]

MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v", "pentagon": "p",
    "hexagon": "h", "cross": "P", "star": "*",
}  # fmt: skip
"""Plotly's symbols by matplotlib's names."""
LABEL_CELLS = 30
DPI = 160
GREY = "#848b94"
PANELS = 4
"""Panels in a row of learning rates."""
MOST_PANELS = 60


def pictures_of(data: Mapping[str, Any]) -> dict[str, Figure]:
    """Figures by the name of their file: ``front``, ``tiers``, ``learning_rates``; those without data are left out."""
    pictures = {}
    if data["front"]["default"]:
        pictures["front"] = _front(data)
    if data["tiers"]["points"]:
        pictures["tiers"] = _tiers(data)
    if data["learning_rates"]:
        pictures["learning_rates"] = _learning_rates(data)
    return pictures


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6eaef", linewidth=0.8)
    axes.set_axisbelow(True)


def _text(text: str) -> str:
    """A text as it is: matplotlib takes what stands between dollars for a formula."""
    return shorten(" ".join(text.split()), LABEL_CELLS).replace("$", r"\$")


def _bars(point: Mapping[str, Any]) -> list[list[float]] | None:
    if point["low"] is None or point["high"] is None:
        return None
    return [[point["value"] - point["low"]], [point["high"] - point["value"]]]


def _front(data: Mapping[str, Any]) -> Figure:
    """The front over the two metrics that are shown first."""
    front = data["front"]
    x, y = front["default"]
    found = front["fronts"].get(f"{x}|{y}") or front["fronts"][f"{y}|{x}"]
    names = [n for n in data["methods"] if n in found["points"] and n in front["points"][x] and n in front["points"][y]]
    figure = _figure(7.6, 4.8)
    axes = figure.add_subplot()
    _plain(axes)
    for name in names:
        mark, a, b = data["methods"][name], front["points"][x][name], front["points"][y][name]
        surely = found["membership"].get(name)
        chance = (0.8 if name in found["members"] else 0.3) if surely is None else surely
        axes.errorbar(
            a["value"], b["value"], xerr=_bars(a), yerr=_bars(b), fmt=MARKERS[mark["symbol"]], color=mark["color"],
            markerfacecolor="none" if mark["single"] or surely is None else mark["color"], elinewidth=1, capsize=2,
            markersize=5 + 4 * chance, alpha=0.45 + 0.55 * chance, zorder=3 if name in found["members"] else 2,
        )  # fmt: skip
    for metric, set_scale, set_label in ((x, axes.set_xscale, axes.set_xlabel), (y, axes.set_yscale, axes.set_ylabel)):
        set_scale(front["axes"][metric]["scale"])
        set_label(f"{front['axes'][metric]['title']}, {front['axes'][metric]['better']}")
    _staircase(axes, front, found, x, y)
    if any(data["methods"][name]["single"] for name in names):
        axes.set_title("hollow: trained once", fontsize=8, loc="right", color="#576270")
    _labels(figure, axes, [(n, front["points"][x][n]["value"], front["points"][y][n]["value"]) for n in names], found)
    return figure


def _staircase(axes: Axes, front: Mapping[str, Any], found: Mapping[str, Any], x: str, y: str) -> None:
    """From the best side of the first metric to its worst: along first, then up."""
    sign = 1 if front["axes"][x]["direction"] == "lower" else -1
    steps = sorted(
        ((front["points"][x][m]["value"], front["points"][y][m]["value"]) for m in found["members"]),
        key=lambda p: sign * p[0],
    )
    if not steps:
        return
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    worst_x = right if sign > 0 else left
    worst_y = top if front["axes"][y]["direction"] == "lower" else bottom
    path = [(steps[0][0], worst_y), steps[0]]
    for step in steps[1:]:
        path += [(step[0], path[-1][1]), step]
    path.append((worst_x, path[-1][1]))
    axes.plot([p[0] for p in path], [p[1] for p in path], color=GREY, linewidth=1.2, zorder=1)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _labels(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float]], found: Mapping[str, Any]) -> None:
    """A name beside each point where it covers nothing; those on the front come first and have one in any case."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")  # what is measured now must not move
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    places = [axes.transData.transform((a, b)) for _, a, b in points]
    taken = [Bbox.from_extents(a - 8, b - 8, a + 8, b + 8) for a, b in places]
    sides = [("left", "bottom", 4, 3), ("right", "bottom", -4, 3), ("left", "top", 4, -3), ("right", "top", -4, -3)]
    farther = [
        (side, "center", sign * dx, dy)
        for dx in (16, 32, 54, 80, 110)
        for dy in (8, -8, 20, -20, 34, -34, 50, -50, 70, -70)
        for side, sign in (("left", 1), ("right", -1))
    ]
    for name, a, b in sorted(points, key=lambda p: p[0] not in found["members"]):
        in_any_case = [*farther, sides[0]] if name in found["members"] else []
        for number, (horizontal, vertical, dx, dy) in enumerate([*sides, *in_any_case]):
            near = (0.0 if horizontal == "left" else 1.0, 0.5)
            line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "relpos": near, "shrinkB": 5}
            label = axes.annotate(
                _text(name), (a, b), (dx, dy), textcoords="offset points", ha=horizontal, va=vertical, fontsize=8,
                arrowprops=line if abs(dx) > 5 else None,
            )  # fmt: skip
            label.update_positions(renderer)
            box = Text.get_window_extent(label, renderer)  # an annotation's own holds its line, too
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if number == len(sides) + len(farther) or (inside and not any(box.overlaps(other) for other in taken)):
                taken.append(box)
                break
            label.remove()


def _tiers(data: Mapping[str, Any]) -> Figure:
    points = data["tiers"]["points"]
    figure = _figure(7.6, 1.1 + 0.26 * len(points))
    axes = figure.add_subplot()
    _plain(axes)
    axes.grid(visible=False, axis="y")
    before = points[0]["tier"]
    for row, point in enumerate(points):
        mark = data["methods"][point["method"]]
        axes.errorbar(
            point["value"], row, xerr=_bars(point), fmt=MARKERS[mark["symbol"]], color=mark["color"], capsize=3,
            markerfacecolor="none" if point["single"] else mark["color"], markersize=7,
        )  # fmt: skip
        if point["tier"] != before:
            axes.axhline(row - 0.5, color=GREY, linewidth=0.8)
        if point["tier"] is not None and (row == 0 or point["tier"] != before):
            label = f"tier {point['tier']}"
            axes.annotate(label, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8)
        before = point["tier"]
        if point["is_base"]:
            axes.axvline(point["value"], color=GREY, linestyle=":", linewidth=1, zorder=0)
    axes.set_yticks(range(len(points)), [_text(point["method"]) for point in points])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(points) - 0.4, -0.6)
    axes.set_xlabel(data["tiers"]["axis"])
    return figure


def _learning_rates(data: Mapping[str, Any]) -> Figure:
    """A panel per method: validation loss of full and of short trials where there is some, else the score."""
    entries = data["learning_rates"][:MOST_PANELS]
    kind = "loss" if any(t["loss"] is not None for e in entries for t in e["trials"]) else "score"
    rows = math.ceil(len(entries) / PANELS)
    columns = min(PANELS, len(entries))
    figure = _figure(2.4 * columns + 0.6, 1.9 * rows + 0.4)
    for place, axes in enumerate(figure.subplots(rows, columns, sharey=True, squeeze=False).flat):
        if place >= len(entries):
            axes.set_visible(False)
            continue
        _panel(axes, entries[place], kind, data["methods"][entries[place]["method"]])
    figure.supxlabel(
        "learning rate (band: bracket; dashes: chosen; dots: short trials, at their rung; cross: failed)", fontsize=9
    )
    figure.supylabel(f"validation {kind}", fontsize=9)
    return figure


def _panel(axes: Axes, entry: Mapping[str, Any], kind: str, mark: Mapping[str, Any]) -> None:
    _plain(axes)
    done = [t for t in entry["trials"] if t["state"] == "done" and t[kind] is not None]
    short = entry["short"] if kind == "loss" else []
    shown = {s["rate"] for s in short}
    lost = [t for t in entry["trials"] if t not in done and t["rate"] not in shown]
    color = mark["color"]
    axes.plot([t["rate"] for t in done], [t[kind] for t in done], MARKERS[mark["symbol"]], ms=4, color=color)
    means = [m for m in entry["means"] if m[kind] is not None]
    axes.plot([m["rate"] for m in means], [m[kind] for m in means], color=color)
    axes.plot([s["rate"] for s in short], [s["loss"] for s in short], ":o", ms=3, mfc="none", color=color)
    lower, higher = entry["bracket"]
    if lower is not None and higher is not None:
        axes.axvspan(lower, higher, color=color, alpha=0.12, linewidth=0)
    if entry["rate"] is not None:
        axes.axvline(entry["rate"], color=color, linestyle="--", linewidth=1)
    if entry["trials"]:
        rates = [t["rate"] for t in entry["trials"]]
        axes.set_xscale("log")
        axes.set_xlim(min(rates) / 1.6, max(rates) * 1.6)
    floor = axes.get_xaxis_transform()  # those without a value stand on the lower edge
    for trial in lost:
        axes.plot(trial["rate"], 0.03, "x", transform=floor, color=mark["color"])
    if kind == "loss" and all(t["loss"] > 0 for t in [*done, *short]):
        axes.set_yscale("log")  # short trials lie far above full ones
    axes.margins(y=0.15)
    edge = ", not bracketed" if entry["edge"] else ""
    axes.set_title(_text(entry["method"]) + edge, fontsize=8.5, color="#a3210a" if edge else "black")
    axes.tick_params(labelsize=7, which="both")
