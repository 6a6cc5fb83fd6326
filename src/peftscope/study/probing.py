"""What methods can do: from the table that ships, or by trying them on a small model like the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.methods.capabilities import CAPABILITIES, Finding, Table, installed, table
from peftscope.methods.catalog import cards
from peftscope.schema.request import Request
from peftscope.views.capabilities import method_parts, rows_of
from peftscope.views.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Capabilities", "probe", "versions"]

PACKAGES = ("peft", "transformers", "torch", "diffusers", "bitsandbytes", "torchao")
"""Whose versions a table holds for."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Capabilities(Shown, Mapping[str, Mapping[str, Finding]]):
    """Findings by method and capability."""

    table: Table
    names: tuple[str, ...] = ()
    """Capabilities that were asked for; empty for all."""
    model: str | None = None
    """What was probed; None for the table that ships."""
    shape: tuple[str, ...] = ()
    """How the model was made smaller."""
    warnings: tuple[str, ...] = field(default=())

    schema: ClassVar[str] = "probe"

    def __getitem__(self, method: str) -> Mapping[str, Finding]:
        return self.table.findings[method]

    def __iter__(self) -> Iterator[str]:
        return iter(self.table.findings)

    def __len__(self) -> int:
        return len(self.table.findings)

    def frame(self) -> pd.DataFrame:
        """One row per method, one column per capability: ``yes``, ``no`` or ``unknown``."""
        import pandas as pd

        rows = {method: {name: of.value for name, of in row.items()} for method, row in self.items()}
        return pd.DataFrame.from_dict(rows, orient="index")

    def _content(self) -> Mapping[str, Any]:
        found = self.table.document()
        return {"model": self.model, "shape": list(self.shape), **found, "notes": list(self.warnings)}

    def _parts(self) -> Iterator[RenderableType]:
        held = ", ".join(f"{name} {number}" for name, number in self.table.versions.items())
        if self.model is None:
            yield Text(f"Probed {self.table.made} on small models, with {held}.", "dim")
        else:
            yield Text(f"Probed on a small model like {self.model}, with {held}.", "dim")
            if self.shape:
                yield Text(f"Smaller than it: {', '.join(self.shape)}.", "dim")
        yield Text("")
        if self.names:
            yield from rows_of(self, self.names)
        else:
            for method, row in self.items():
                yield from method_parts(method, row)


def probe(
    model: str | None = None,
    methods: str | Sequence[str] | None = None,
    *,
    capabilities: str | Sequence[str] | None = None,
    revision: str | None = None,
    request: Request | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Capabilities:
    """What methods can do.

    Args:
        model: Hub id, model folder, config.json, GGUF file or ``builtin:NAME``: methods are tried on a small model like
            it, of its classes and layers; no weights are read. None takes the table that ships, made on small models of
            every sort.
        methods: Names, or ``all``. By default all of the table; one per ``peft`` type where a model is given.
        capabilities: Only these, by name.
        revision: Branch, tag or commit of a hub id.
        request: Collects problems of arguments.
        told: Called with what is being done.

    Raises:
        SpecError: With every argument that is wrong.
        ModelError: There is no such model, or it is none that can be probed.

    >>> probe(methods="prompt-tuning")["prompt-tuning"]["merge"].value
    'no'
    """
    request = request or Request("probe")
    wanted = _methods(methods, request, every=model is None)
    known = {of.name for of in CAPABILITIES}
    names = () if capabilities is None else tuple(request.names("capability", "capability", capabilities, known))
    if model is None and revision is not None:
        request.note("revision", "is of a model; say which")
    request.end()
    if model is None:
        return _from_table(wanted, names)
    from peftscope.models.miniatures.twins import twin_of
    from peftscope.probe.probing import asked_of, probe_on

    told("making a small model like it")
    twin = twin_of(model, revision)
    about = asked_of(twin)
    for name in names:
        if name not in about:
            request.note("capability", f"{name} is not about such a model; of it can be asked {', '.join(about)}")
    request.end()
    total = len(wanted)
    counted = iter(range(1, total + 1))
    chosen = [cards()[name] for name in wanted]
    found = dict(probe_on(twin, chosen, names=names, told=lambda name: told(f"{name} ({next(counted)} of {total})")))
    return Capabilities(
        table=Table(made=date.today().isoformat(), versions=versions(), findings=found),
        names=names,
        model=model,
        shape=twin.shape,
    )


def _methods(given: str | Sequence[str] | None, request: Request, *, every: bool) -> list[str]:
    """Names of the methods asked for: those given, all, or one per ``peft`` type."""
    own = [card for card in cards().values() if card.trains or card.refused is not None]
    if given is None or given == "all":
        return [card.name for card in own if every or given == "all" or card.variant_of is None]
    names = request.names("methods", "method", given, {card.name for card in own})
    if not names:
        request.note("methods", "nothing given")
    return names


def _from_table(wanted: Sequence[str], names: Sequence[str]) -> Capabilities:
    ours = table()
    findings = {
        method: {name: of for name, of in ours.findings[method].items() if not names or name in names}
        for method in wanted
        if method in ours.findings
    }
    others = ", ".join(
        f"{name} {there} (here: {here or 'none'})" for name, (there, here) in ours.other_versions().items()
    )
    warnings = (f"the table holds for {others}; 'peftscope probe --model M' tries what is installed",) if others else ()
    return Capabilities(
        table=Table(made=ours.made, versions=ours.versions, findings=findings), names=tuple(names), warnings=warnings
    )


def versions() -> dict[str, str]:
    """Installed versions of the packages that a table holds for."""
    found = {name: installed(name) for name in PACKAGES}
    return {name: number for name, number in found.items() if number is not None}
