"""Prompt templates."""

import pytest

from peftscope.tasks.text.template import fill_template, template_fields


@pytest.mark.parametrize("template", ["{a", "a}", "{}", "{a!r}", "{a:>3}"])
def test_a_template_with_anything_but_plain_names_is_rejected(template):
    with pytest.raises(ValueError, match="given"):
        template_fields(template)


def test_template_fields_never_access_attributes():
    assert template_fields("{a.__class__}{my column}") == ("a.__class__", "my column")
    assert fill_template("{a.__class__}", {"a.__class__": "text"}) == "text"
