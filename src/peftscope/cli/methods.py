"""``peftscope methods``: every technique there is, and what we know of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from peftscope.cli.output import print_json
from peftscope.methods.card import Card, Rate, Source
from peftscope.methods.catalog import card, cards
from peftscope.methods.catalog.narrow_rates import NARROW_SOURCE

__all__ = ["methods"]


def methods(
    name: Annotated[str | None, typer.Argument(help="A technique, to see its whole card.")] = None,
    family: Annotated[str | None, typer.Option(help="Only techniques of this family.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """List every technique, or show one card: what it is, its settings, its learning rate and where that is from."""
    shown = [card(name)] if name else [c for c in cards().values() if family in (None, c.family)]
    if not shown:
        families = ", ".join(sorted({c.family for c in cards().values()}))
        raise typer.BadParameter(f"no technique of family {family!r}; there are {families}", param_hint="--family")
    if json_output:
        print_json("methods", {"methods": [_plain(c) for c in shown]})
    elif name:
        _print_card(shown[0])
    else:
        _print_list(shown)


def _plain(entry: Card) -> dict[str, Any]:
    document = asdict(entry)
    return {
        "name": entry.name,
        "family": entry.family,
        "peft_type": entry.peft_type,
        "status": _status(entry),
        "reason": document.pop("refused"),
        **document,
    }


def _status(entry: Card) -> str:
    return "refused" if entry.refused else "trainable" if entry.trains else "baseline"


def _print_list(shown: list[Card]) -> None:
    table = Table(header_style="bold")
    for heading in ("name", "family", "learning rate", "what it does"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for entry in shown:
        rate = f"{entry.rate.default:g}" if entry.trains and entry.rate else "–"
        text = entry.summary if entry.refused is None else f"{entry.summary} [dim]Refused: {entry.refused}[/dim]"
        table.add_row(entry.name, entry.family, rate, text)
    Console().print(table)


def _print_card(entry: Card) -> None:
    console = Console(soft_wrap=True)
    console.print(f"[bold]{entry.title}[/bold]  ({entry.name}; {entry.family}; peft type {entry.peft_type})")
    console.print(entry.summary, highlight=False)
    rows: list[tuple[str, str]] = []
    if entry.paper:
        link = f", arXiv:{entry.paper.arxiv}" if entry.paper.arxiv else ""
        rows.append(("paper", f"{entry.paper.title} ({entry.paper.year}{link})"))
    if entry.rate:
        rows.append(("learning rate", f"{entry.rate.default:g} – {_source(entry.rate.source)}"))
        span = f"{entry.rate.low:g} to {entry.rate.high:g}"
        rows.append(("search range", f"{span} – {_source(entry.rate.range_source)}"))
        if entry.rate.narrow is not None:
            rows.append(("at width 256", f"{entry.rate.narrow:g} – measured: {NARROW_SOURCE}"))
            rows.append(("search begins", _begins(entry.rate)))
    rows += [("set by us", _pairs(entry.config)), ("knobs", _pairs(entry.knobs)), ("adapts", entry.targets)]
    rows += [("optimizer", entry.optimizer or "the study's"), ("needs", "; ".join(entry.needs))]
    rows += [
        ("merges", "yes" if entry.merges else "no"),
        ("quantized base", ", ".join(entry.quantized) or "no"),
    ]
    rows += [("limits", "; ".join(entry.limits)), ("refused", entry.refused or "")]
    for key, value in rows:
        if value:
            console.print(f"  {key + ':':16}{value}", markup=False, highlight=False)


def _begins(rate: Rate) -> str:
    told = ", ".join(f"{rate.centre(width):.1e} at width {width}" for width in (256, 576, 1024, 2048, 3072))
    return f"{told} – between the two, on log scales"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in values.items())


def _source(source: Source) -> str:
    return f"{source.kind}: {source.where}"
