"""The page that shows what was found on every device the check was run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["page", "verdict"]

KINDS = {"cpu": "CPU", "cuda": "CUDA", "xpu": "XPU", "mps": "MPS"}
INTRO = """What peftscope does on a device: its own commands on small studies, in at most 8 minutes. Written by
`make accelerator-check` (`python benchmarks/accelerator.py`, with `--device cpu` for a CPU); the figures lie beside
this file in `accelerator/`. A CPU's sizes are small: they show that the check itself works."""

Document = Mapping[str, Any]


def verdict(part: Mapping[str, Any] | None) -> str:
    """A part in a word or two."""
    if part is None:
        return "not seen"
    if part.get("failure"):
        return "failed"
    count = len(part["problems"])
    return f"{count} problem{'s' if count > 1 else ''}" if count else "ok"


def page(documents: Sequence[Document], titles: Mapping[str, str]) -> str:
    """The page as Markdown.

    Args:
        documents: One for every device, as the check writes it.
        titles: What each part is, by its name.
    """
    columns: list[tuple[str, Document | None]] = []
    for kind, label in KINDS.items():
        seen = [document for document in documents if document["kind"] == kind]
        columns += [(document["device"], document) for document in seen] or [(label, None)]
    head = ["| part | " + " | ".join(name for name, _ in columns) + " |", "| --- |" + " --- |" * len(columns)]
    for name, title in titles.items():
        cells = [verdict(document["parts"].get(name) if document else None) for _, document in columns]
        head.append(f"| {title} | " + " | ".join(cells) + " |")
    sections = [line for _, document in columns if document for line in _section(document, titles)]
    return "\n".join([INTRO, "", *head, *sections]) + "\n"


def _section(document: Document, titles: Mapping[str, str]) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in document["packages"].items())
    lines = ["", f"## {document['device']}", "", f"{document['date']}, {document['seconds']:.0f} s; {packages}."]
    for name, title in titles.items():
        part = document["parts"].get(name)
        if part is None:
            continue
        lines += ["", f"**{title}** ({part['seconds']:.0f} s)"]
        for problem in ([part["failure"]] if part.get("failure") else []) + part["problems"]:
            lines += ["", f"- {_cell(problem)}"]
        lines += _table(part["rows"])
    return lines


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    numeric = [not any(isinstance(row.get(name), str) for row in rows) for name in names]
    return [
        "",
        "| " + " | ".join(names) + " |",
        "|" + "|".join(" ---: " if number else " --- " for number in numeric) + "|",
        *("| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows),
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return " ".join(str(value).split()).replace("|", "/")
