"""Prompt templates: ``{column}`` stands for a column's text, nothing else is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

__all__ = ["fill_template", "template_fields"]


def template_fields(template: str) -> tuple[str, ...]:
    """Names in braces, in the order they first stand.

    >>> template_fields("Q: {question} ({topic})\\nA:")
    ('question', 'topic')

    Raises:
        ValueError: A brace is not closed, a field is empty, or it carries a format such as ``{x!r}``.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; a brace of the text itself is written {{{{ or }}}}; given {template!r}") from None
    names: dict[str, None] = {}
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if not name.strip() or spec or conversion:
            raise ValueError(f"a field is the name of a column alone, as in {{question}}; given {template!r}")
        names[name] = None
    return tuple(names)


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """The template with its fields replaced; values are taken as they are, braces and all.

    Unlike ``str.format`` it looks up no attributes: ``{row.name}`` is the column called ``row.name``.

    >>> fill_template("Q: {q} {{}}", {"q": "{x}"})
    'Q: {x} {}'
    """
    return "".join(
        literal + (values[name] if name is not None else "") for literal, name, _, _ in Formatter().parse(template)
    )
