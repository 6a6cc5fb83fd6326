"""Data and figures -> one HTML file that needs nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from peftscope.views.line import shorten

__all__ = ["embed", "page"]

SECTIONS = (
    ("recommendation", "Recommendation"), ("front", "Front"), ("tiers", "Tiers"), ("pairs", "Pairs"),
    ("pictures", "Pictures"),
    ("tuning", "Learning rates"), ("training", "Training"), ("costs", "Cost"), ("failures", "Failures"),
    ("fairness", "Fairness"), ("conditions", "Conditions"), ("repeat", "Repeat"),
)  # fmt: skip
SIGNS = {
    "circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "triangle-down": "▼", "pentagon": "⬟",
    "hexagram": "✶", "cross": "✚", "star": "★",
}  # fmt: skip
"""Plotly's symbols as letters, for tables."""
NAME_CELLS = 28


def page(data: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """The whole page; every text of the data is escaped."""
    from jinja2 import Environment
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True)
    environment.filters["short"] = lambda text: shorten(str(text), NAME_CELLS)
    embedded = {"front": data["front"], "methods": data["methods"], "figures": figures}
    return environment.from_string(_part("template.html")).render(
        data=data,
        figures=figures,
        sections=[(id, title) for id, title in SECTIONS if id != "pictures" or data["pictures"]],
        signs=SIGNS,
        place=shlex.quote(data["study"]["place"]),
        embedded=Markup(embed(embedded)),
        css=Markup(_part("style.css")),
        js=Markup(_part("page.js")),
        plotly=Markup(get_plotlyjs()),
    )


def embed(value: Any) -> str:
    r"""JSON that can stand in a script element: no text in it can end that.

    Raises:
        ValueError: A number is none that JSON knows.

    >>> embed("</script>")
    '"\\u003c/script>"'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _part(name: str) -> str:
    return files("peftscope.views.report").joinpath(name).read_text(encoding="utf-8")
