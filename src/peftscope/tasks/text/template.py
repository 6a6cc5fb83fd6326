"""Prompt templates: ``{column}`` stands for a column's text, nothing else is evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["fill_template", "template_fields"]

_BRACES = re.compile(r"\{\{(?P<text>[^{}]*)\}\}|\{(?P<name>[^{}\"\n]*)\}")


def template_fields(template: str) -> tuple[str, ...]:
    """Names in braces, in the order they first stand.

    Braces that cannot hold a name, such as those of JSON, are text; so is what stands in two pairs of them.

    >>> template_fields('Q: {question} ({topic}) as {"answer": {"text": 1}} or {{topic}}')
    ('question', 'topic')

    Raises:
        ValueError: A field is empty.
    """
    names: dict[str, None] = {}
    for _, name in _parts(template):
        if name == "":
            raise ValueError(
                f"empty braces; put the name of a column in them, as in {{question}}, or write {{{{}}}} for a pair of "
                f"braces; given {template!r}"
            )
        if name is not None:
            names[name] = None
    return tuple(names)


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """The template with its fields replaced; values are taken as they are, braces and all.

    >>> fill_template('Q: {q} {{}} {"a": 1}', {"q": "{x}"})
    'Q: {x} {} {"a": 1}'
    """
    return "".join(literal + (values[name] if name is not None else "") for literal, name in _parts(template))


def _parts(template: str) -> Iterator[tuple[str, str | None]]:
    """Text, and the name of the field after it; None after the last."""
    at, text = 0, ""
    for match in _BRACES.finditer(template):
        text += template[at : match.start()]
        at = match.end()
        if match["name"] is None:
            text += f"{{{match['text']}}}"
            continue
        yield text, match["name"].strip()
        text = ""
    yield text + template[at:], None
