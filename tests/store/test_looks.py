"""Promises about looks: seeds added by hand after a verdict are known to be."""

from __future__ import annotations

from pathlib import Path

from peftscope.schema.seeds import Looks
from peftscope.schema.study import StudySpec
from peftscope.store.looks import add_look, looks_of

RAW = {"name": "a", "model": "builtin:nano-lm", "task": "math", "methods": ["lora"]}


def _study(seeds: object) -> StudySpec:
    return StudySpec.model_validate({**RAW, "seeds": seeds})


def test_a_study_with_one_seed_list_gets_one_analysis(tmp_path: Path) -> None:
    assert looks_of(tmp_path, _study([0, 1, 2])) == Looks(seeds=((0, 1, 2),))


def test_an_adaptive_seed_plan_gets_one_interim_look_per_seed_count(tmp_path: Path) -> None:
    assert looks_of(tmp_path, _study({"first": 3, "most": 5})).num_planned == 3


def test_seeds_added_after_a_verdict_count_as_another_interim_look(tmp_path: Path) -> None:
    add_look(tmp_path, _study([0, 1, 2]))
    longer = looks_of(tmp_path, _study([0, 1, 2, 3]))
    assert longer == Looks(seeds=((0, 1, 2), (0, 1, 2, 3)))
    add_look(tmp_path, _study([0, 1, 2, 3]))
    assert looks_of(tmp_path, _study([0, 1, 2, 3, 4])).num_planned == 1
    assert len(looks_of(tmp_path, _study([0, 1, 2, 3, 4])).seeds) == 3


def test_an_adaptive_plan_continues_after_an_earlier_seed_list(tmp_path: Path) -> None:
    add_look(tmp_path, _study([0, 1, 2]))
    assert looks_of(tmp_path, _study({"first": 3, "most": 5})).seeds == ((0, 1, 2), (0, 1, 2, 3), (0, 1, 2, 3, 4))
