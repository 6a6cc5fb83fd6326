"""Prompt templates."""

import pytest

from peftscope.tasks.text.template import fill_template, template_fields


@pytest.mark.parametrize("template", ["{a", "a}", "{}", "{a!r}", "{a:>3}"])
def test_a_template_that_is_more_than_names_is_refused(template):
    with pytest.raises(ValueError, match="given"):
        template_fields(template)


def test_no_attribute_is_looked_up():
    assert template_fields("{a.__class__}{my column}") == ("a.__class__", "my column")
    assert fill_template("{a.__class__}", {"a.__class__": "text"}) == "text"
