"""What names a run, and which of its settings decide what: each says so on its field.

A run's id is the hash of what is set differently from the defaults, so that a field with a default can be added
without orphaning a record. The protocols, within which figures are ranked, hold the settings that decide quality, and
those that decide cost alone; their hashes leave out defaults, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

__all__ = ["COST", "NEITHER", "QUALITY", "Decides", "declared", "settings_that_decide", "without_defaults"]


@dataclass(frozen=True)
class Decides:
    """What a setting decides; stands in the annotation of its field.

    ``neither``: it is what is compared (method, learning rate, seed), something else stands for it (the hash of the
    weights for the model's source), or it changes no figure.
    """

    what: Literal["quality", "cost", "neither"]


QUALITY, COST, NEITHER = Decides("quality"), Decides("cost"), Decides("neither")


def declared(field: FieldInfo) -> Decides | None:
    """What a field declares; None where it holds a model whose fields do, or forgot to."""
    return next((mark for mark in field.metadata if isinstance(mark, Decides)), None)


def settings_that_decide(spec: BaseModel, what: Literal["quality", "cost"]) -> dict[str, Any]:
    """The settings of a spec that decide something, as JSON holds them, defaults among them."""
    found: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        value, mark = getattr(spec, name), declared(field)
        if mark is None and isinstance(value, BaseModel):
            if inner := settings_that_decide(value, what):
                found[name] = inner
        elif mark is not None and mark.what == what:
            found[name] = to_jsonable_python(value)
    return found


def without_defaults(settings: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Settings of a model, as JSON holds them, without those that are what they are by default."""
    return dict(_set(settings, model))


def _set(settings: Mapping[str, Any], model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        field = model.model_fields.get(name)
        inner = field.annotation if field is not None else None
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            if kept := without_defaults(value, inner):
                yield name, kept
        elif field is None or field.is_required() or value != _default(field):
            yield name, value


def _default(field: FieldInfo) -> Any:
    return to_jsonable_python(field.get_default(call_default_factory=True))
