"""Kinds of models by name. Built-in ones stand here; others come from the entry-point group ``peftscope.kinds``.

A plug-in is an entry point whose object is a ``KindEntry``, in a module that imports no torch::

    [project.entry-points."peftscope.kinds"]
    my-kind = "my_package.entry:KIND"

    KIND = KindEntry(kind="my_package.kind:MyKind")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from peftscope.errors import ModelError
from peftscope.models.kinds.causal_lm.metrics import DECODING
from peftscope.plugins import Registry, load_target
from peftscope.schema.metric import MetricSpec
from peftscope.schema.study import ModelSpec

if TYPE_CHECKING:  # torch comes with the contract, and names must be listed without it
    import torch

    from peftscope.models.kinds.base import ModelKind, ModelProfile

__all__ = ["KINDS", "KindEntry", "choose", "import_built_in", "kind", "profile_of"]


@dataclass(frozen=True, kw_only=True)
class KindEntry:
    """Where a kind's class is; nothing is imported before it is asked for."""

    kind: str
    """``module:class``."""
    metrics: tuple[MetricSpec, ...] = ()
    """What inference with such a model costs, as its class measures it."""
    servers: tuple[str, ...] = ()
    """What loads a LoRA of such a model, by the names that capabilities of methods have."""


KINDS = Registry(
    "kind of model",
    "peftscope.kinds",
    KindEntry,
    {
        "causal-lm": KindEntry(
            kind="peftscope.models.kinds.causal_lm.kind:CausalLM", metrics=DECODING, servers=("vllm", "llama.cpp")
        ),
        "text-to-image": KindEntry(
            kind="peftscope.models.kinds.text_to_image.kind:TextToImage", servers=("diffusers",)
        ),
    },
)
Answer = TypeVar("Answer")
FALLBACK = "causal-lm"
"""Asked last what a source is, since it says what is wrong with one that is no model at all."""


def import_built_in() -> None:
    """Import the built-in kinds, for a process that others are forked from."""
    for entry in KINDS.built_in.values():
        load_target(entry.kind)


@lru_cache
def kind(name: str) -> ModelKind:
    """The kind of a name.

    Raises:
        SpecError: There is none.
        PlugInError: It is another package's and cannot be loaded.
    """
    from peftscope.models.kinds.base import ModelKind

    found: ModelKind = KINDS.load(name, KINDS.get(name).kind, ModelKind)()
    return found


def choose(spec: ModelSpec, names: Sequence[str]) -> ModelKind:
    """The one of some kinds a model is of: what the user says, else the only one, else the first that knows it.

    Raises:
        ModelError: The user says another, or none knows the source.
    """
    if spec.kind is not None and spec.kind not in names:
        KINDS.get(spec.kind)
        raise ModelError(f"model.kind: {spec.kind!r} is no kind this task is learned on; it takes {', '.join(names)}")
    if spec.kind is not None or len(names) == 1:
        return kind(spec.kind or names[0])
    found = _first(names, lambda each: each if each.knows(spec) else None)
    if found is not None:
        return found
    raise ModelError(f"model.source: {spec.source!r} is of none of the kinds {', '.join(names)}; set model.kind")


def profile_of(spec: ModelSpec, dtype: torch.dtype) -> ModelProfile:
    """The shapes of a base whose kind is not said: of the first kind that knows it.

    Args:
        spec: Source, revision, attention kernel and quantization.
        dtype: Of the weights.

    Raises:
        ModelError: There is nothing, the hub cannot be reached, it is of no kind we know, or its sizes are not
            predicted with such a quantization.
        StoreError: The hub's cache cannot be written.
    """
    found = _first(KINDS.names() if spec.kind is None else [spec.kind], lambda each: each.profile(spec, dtype))
    if found is not None:
        return found
    of_kind = f", a {spec.kind}," if spec.kind else ""
    raise ModelError(f"model.source: sizes of {spec.source!r}{of_kind} are not predicted with these settings")


def _first(names: Iterable[str], ask: Callable[[ModelKind], Answer | None]) -> Answer | None:
    """The first answer of some kinds that is not None; what the last one says is wrong is raised."""
    *others, last = sorted(names, key=lambda name: name == FALLBACK)
    for name in others:
        with suppress(ModelError):
            found = ask(kind(name))
            if found is not None:
                return found
    return ask(kind(last))
