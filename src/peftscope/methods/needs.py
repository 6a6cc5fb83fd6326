"""What a user can ask a method to be able to, and which of the probed capabilities answer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peftscope.methods.capabilities import CAPABILITIES, MERGE, SERVERS, finding

__all__ = ["MERGEABLE", "NEEDS", "QUANTIZABLE", "Need", "fulfilled"]

MERGEABLE, QUANTIZABLE = "mergeable", "quantizable"


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something asked for by name."""

    name: str
    capabilities: tuple[str, ...]
    """Any of which fulfils it."""
    option: str
    """How it is asked for on the command line."""
    label: str
    about: str
    """Why one would ask."""
    lacks: str
    """What is said of a method that is not able to."""


def _served(server: str) -> Need:
    title = next(of.title for of in CAPABILITIES if of.name == server)
    return Need(
        name=server,
        capabilities=(server,),
        option=f"--servable {server}",
        label=f"be served by {title}",
        about=f"As a LoRA that {title} loads, after 'peftscope convert'.",
        lacks=f"{title} does not load it as a LoRA",
    )


NEEDS: Mapping[str, Need] = {
    need.name: need
    for need in (
        Need(
            name=MERGEABLE,
            capabilities=(MERGE,),
            option="--mergeable",
            label="merge into the base",
            about="A merged adapter costs nothing at inference.",
            lacks="cannot be merged",
        ),
        Need(
            name=QUANTIZABLE,
            capabilities=("int8", "nf4"),
            option="--quantizable",
            label="train on a quantized base",
            about="The base in 8 or 4 bits.",
            lacks="does not train on a quantized base",
        ),
        *(_served(server) for server in SERVERS),
    )
}


def fulfilled(method: str) -> frozenset[str]:
    """Names of the needs that a method fulfils, by the table of capabilities.

    >>> sorted(fulfilled("prompt-tuning"))
    ['quantizable']
    """
    return frozenset(
        need.name for need in NEEDS.values() if any(finding(method, name).value == "yes" for name in need.capabilities)
    )
