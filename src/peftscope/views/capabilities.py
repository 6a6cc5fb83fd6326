"""What methods can do, as text: one method in full, several in short, or one capability of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from peftscope.methods.capabilities import CAPABILITIES, GROUPS, Capability, Finding
from peftscope.views.line import printable
from peftscope.views.shown import labelled

__all__ = ["able_text", "finding_text", "method_parts", "rows_of"]


def method_parts(name: str, found: Mapping[str, Finding]) -> Iterator[RenderableType]:
    """A method: what it can do, group by group, then what not and why."""
    yield Text(name, "bold")
    lines = []
    for group, title in GROUPS.items():
        if any(of.group == group and of.name in found for of in CAPABILITIES):
            lines.append((f"{title}:", able_text(group, found)))
    yield labelled(lines)
    yield from _reasons(found)
    yield Text("")


def able_text(group: str, found: Mapping[str, Finding]) -> str:
    """What of a group a method can do, in a line; costs with their figures."""
    names = [of for of in CAPABILITIES if of.group == group and of.name in found]
    return ", ".join(_with_figures(of, found[of.name]) for of in names if found[of.name].value == "yes") or "nothing"


def _reasons(found: Mapping[str, Finding]) -> Iterator[RenderableType]:
    """Why not, those with one reason together."""
    for value, title in (("no", "not:"), ("unknown", "not known:")):
        reasons = _by_reason(value, [(of.title, found[of.name]) for of in CAPABILITIES if of.name in found])
        if reasons:
            yield Padding(Text(title, "dim"), (0, 0, 0, 2), expand=False)
            lines = [Text(printable(f"{', '.join(names)}: {reason}")) for reason, names in reasons.items()]
            yield from (Padding(line, (0, 0, 0, 4), expand=False) for line in lines)


def _by_reason(value: str, found: Iterable[tuple[str, Finding]]) -> dict[str, list[str]]:
    """Names of the findings of a value, those with one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, of in found:
        if of.value == value:
            reasons.setdefault(of.reason, []).append(name)
    return reasons


def _with_figures(of: Capability, found: Finding) -> str:
    told = finding_text(found) if of.group == "costs" else ""
    return f"{of.title} {told}".strip()


def finding_text(found: Finding) -> str:
    """A finding in a few words."""
    figures = found.figures
    if "ratio" in figures:
        size = f", {figures['bytes'] / 1e6:.2g} MB each" if "bytes" in figures else ""
        return f"{figures['ratio']:.2g} ×{size}"
    return found.reason if found.value != "yes" else "yes"


def rows_of(found: Mapping[str, Mapping[str, Finding]], names: Sequence[str]) -> Iterator[RenderableType]:
    """Capabilities of many methods: a line for each, the reason below where there is one."""
    by_name = {of.name: of for of in CAPABILITIES}
    for name in names:
        yield Text(by_name[name].title, "bold")
        yield Padding(Text(by_name[name].about, "dim"), (0, 0, 0, 2), expand=False)
        known = {method: row[name] for method, row in found.items() if name in row}
        yes = [
            m if "ratio" not in f.figures else f"{m} ({finding_text(f)})" for m, f in known.items() if f.value == "yes"
        ]
        lines = [("yes:", ", ".join(yes) or "none")]
        for value, title in (("no", "no:"), ("unknown", "not known:")):
            reasons = _by_reason(value, known.items())
            lines += [(title, f"{', '.join(methods)}: {reason}") for reason, methods in reasons.items()]
        yield labelled(lines)
        yield Text("")
