"""Promises about seeds in a study: a list, or few for all and more where they decide."""

from __future__ import annotations

from typing import Any

import pytest

from peftscope.errors import SpecError
from peftscope.schema.reader import study_from
from peftscope.schema.seeds import SeedPlan
from peftscope.schema.study import StudySpec
from peftscope.study.vocabulary import vocabulary

RAW = {"name": "a", "model": "builtin:nano-lm", "task": "math", "methods": ["lora"]}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"first": 3, "mots": 5}, "seeds: unknown setting 'mots'; did you mean 'most'"),
        ({"first": 3, "most": 3}, "seeds: most: 3 is no more than first, 3"),
        ({"first": 1}, "seeds.first: input should be greater than or equal to 2; given 1"),
        ("three", "seeds: input should be a list, such as [a, b]; given 'three'"),
        ([0, 0], "seeds: a seed is listed more than once"),
    ],
)
def test_invalid_seeds_are_reported_as_exactly_one_problem(given: Any, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        study_from({**RAW, "seeds": given}, vocabulary(), source="study.yaml")
    assert len(caught.value.problems) == 1
    assert told.split(": ", 1)[1] in caught.value.problems[0]


def test_a_plan_of_seeds_is_read_and_written() -> None:
    study = StudySpec.model_validate({**RAW, "seeds": {"most": 5}})
    assert study.seeds == SeedPlan(first=3, most=5)
    assert study.first_seeds == (0, 1, 2)
    assert study.all_seeds == (0, 1, 2, 3, 4)
    assert StudySpec.model_validate_json(study.model_dump_json()) == study


def test_a_seed_plan_may_not_include_the_tuning_seed() -> None:
    with pytest.raises(ValueError, match="is the tuning's, too"):
        StudySpec.model_validate({**RAW, "tuning": {"seed": 4}, "seeds": {"most": 5}})
