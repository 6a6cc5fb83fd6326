"""Prompt templates."""

import pytest

from peftscope.tasks.text.template import fill_template, template_fields


def test_empty_braces_are_rejected():
    with pytest.raises(ValueError, match="name of a column"):
        template_fields("{ }")


@pytest.mark.parametrize(
    ("template", "fields", "filled"),
    [
        ('{"q": "{q}", "list": {"a": 1}}', ("q",), '{"q": "<q>", "list": {"a": 1}}'),
        ("{q} {{q}} {{}}", ("q",), "<q> {q} {}"),
        ("a {q} b } c {", ("q",), "a <q> b } c {"),
        ("if (x) {\n  {q}\n}", ("q",), "if (x) {\n  <q>\n}"),
        ("{Notes: internal}{price (USD)}{ text }", ("Notes: internal", "price (USD)", "text"), None),
        ("{messages[-1].content} {messages[1][content]}", ("messages[-1].content", "messages[1][content]"), None),
    ],
)
def test_braces_that_name_no_column_stay_text(template, fields, filled):
    assert template_fields(template) == fields
    made = fill_template(template, {name: f"<{name}>" for name in fields})
    assert filled is None or made == filled


def test_template_fields_never_access_attributes():
    assert template_fields("{a.__class__}{my column}") == ("a.__class__", "my column")
    assert fill_template("{a.__class__}", {"a.__class__": "text"}) == "text"
