"""Methods and their cards, as an answer that shows itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from peftscope.methods.capabilities import CAPABILITIES, GROUPS, MERGE, finding, table
from peftscope.methods.card import Card, Rate, Source
from peftscope.methods.catalog import card, cards
from peftscope.methods.catalog.narrow_rates import NARROW_SOURCE
from peftscope.schema.request import Request
from peftscope.views.capabilities import able_text
from peftscope.views.shown import Shown, labelled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MethodList", "methods_of"]

WIDTHS = (256, 576, 1024, 2048, 3072)
"""Hidden sizes for which a card says where the search of learning rates begins."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MethodList(Shown, Mapping[str, Card]):
    """Cards by the names of their methods."""

    cards: Mapping[str, Card]
    in_full: bool = False
    """Whether whole cards are shown, instead of a line for each."""

    schema: ClassVar[str] = "methods"

    def __getitem__(self, name: str) -> Card:
        return self.cards[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.cards)

    def __len__(self) -> int:
        return len(self.cards)

    def frame(self) -> pd.DataFrame:
        """One row per method: name, family, status, reason, summary, merges, default learning rate."""
        import pandas as pd

        columns = ("name", "title", "family", "peft_type", "status", "reason", "summary")
        rows = [{name: entry[name] for name in columns} for entry in self.document()["methods"]]
        frame = pd.DataFrame(rows)
        frame["merges"] = [finding(name, MERGE).value == "yes" for name in self.cards]
        frame["learning_rate"] = [entry.rate.default if entry.rate else None for entry in self.cards.values()]
        return frame

    def _content(self) -> Mapping[str, Any]:
        return {"methods": [_plain(entry) for entry in self.cards.values()]}

    def _parts(self) -> Iterator[RenderableType]:
        if self.in_full:
            for entry in self.cards.values():
                yield from _card_parts(entry)
        else:
            for entry in self.cards.values():
                yield from _line_parts(entry)


def methods_of(name: str | None, request: Request, *, family: str | None = None) -> MethodList:
    """Methods, all or of one family; or one, with its whole card.

    Raises:
        SpecError: There is no such method or family.
    """
    if name is not None:
        return MethodList(cards={name: card(name)}, in_full=True)
    if family is not None:
        request.check("family", "family", family, sorted({entry.family for entry in cards().values()}))
        request.end()
    return MethodList(cards={n: entry for n, entry in cards().items() if family in (None, entry.family)})


def _plain(entry: Card) -> dict[str, Any]:
    document = asdict(entry)
    return {
        "name": entry.name,
        "family": entry.family,
        "peft_type": entry.peft_type,
        "status": _status(entry),
        "reason": document.pop("refused"),
        "capabilities": {name: found.document() for name, found in table().findings.get(entry.name, {}).items()},
        **document,
    }


def _status(entry: Card) -> str:
    return "refused" if entry.refused else "trainable" if entry.trains else "baseline"


def _line_parts(entry: Card) -> Iterator[RenderableType]:
    """Two lines: what it is called and where its learning rate begins, and what it does."""
    rate = f", learning rate {entry.rate.default:g}" if entry.trains and entry.rate else ""
    yield Text.assemble((entry.name, "bold"), f"  {entry.family}{rate}")
    summary = Text(entry.summary)
    if entry.refused is not None:
        summary.append(f" Refused: {entry.refused}", style="dim")
    yield Padding(summary, (0, 0, 0, 2), expand=False)


def _card_parts(entry: Card) -> Iterator[RenderableType]:
    yield Text.assemble((entry.title, "bold"), f"  ({entry.name}; {entry.family}; peft type {entry.peft_type})")
    yield Text(entry.summary)
    yield labelled([(f"{key}:", value) for key, value in _facts(entry) if value])


def _facts(entry: Card) -> Iterator[tuple[str, str]]:
    if entry.paper:
        link = f", arXiv:{entry.paper.arxiv}" if entry.paper.arxiv else ""
        yield "paper", f"{entry.paper.title} ({entry.paper.year}{link})"
    if entry.rate:
        yield "learning rate", f"{entry.rate.default:g} – {_source(entry.rate.source)}"
        yield "search range", f"{entry.rate.low:g} to {entry.rate.high:g} – {_source(entry.rate.range_source)}"
        if entry.rate.narrow is not None:
            yield "at width 256", f"{entry.rate.narrow:g} – measured: {NARROW_SOURCE}"
            yield "search begins", _begins(entry.rate)
    yield "set by us", _pairs(entry.config)
    yield "knobs", _pairs(entry.knobs)
    yield "adapts", entry.targets
    yield "optimizer", entry.optimizer or "the study's"
    yield "needs", "; ".join(entry.needs)
    known = table().findings.get(entry.name, {})
    for group, title in GROUPS.items():
        if any(of.group == group and of.name in known for of in CAPABILITIES):
            yield title, able_text(group, known)
    yield "limits", "; ".join(entry.limits)
    yield "refused", entry.refused or ""


def _begins(rate: Rate) -> str:
    starts = ", ".join(f"{rate.centre(width):.1e} at width {width}" for width in WIDTHS)
    return f"{starts} – between the two, on log scales"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in values.items())


def _source(source: Source) -> str:
    return f"{source.kind}: {source.where}"
