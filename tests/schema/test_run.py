"""A run is named by its content."""

from __future__ import annotations

import pytest

from peftscope.errors import SpecError
from peftscope.schema.override import override
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec, StudySpec
from peftscope.tuning.expand import expand

STUDY = StudySpec(
    name="s",
    model="m",
    task="math",
    methods=(
        {"name": "lora", "learning_rates": (1e-4, 1e-3)},
        {"name": "xlora", "learning_rates": (1e-4, 1e-3)},
        {"name": "oft", "learning_rates": (1e-4, 1e-3)},
    ),
    seeds=(0, 1),
)


def test_a_study_expands_to_methods_rates_and_seeds_plus_one_base() -> None:
    runs = expand(STUDY)
    assert len(runs) == 1 + 2 * 3 * 2
    assert len({run.run_id for run in runs}) == len(runs)
    assert [run.method.name for run in runs[:6]] == ["base", "lora", "lora", "xlora", "xlora", "oft"]
    assert runs[0].learning_rate is None
    assert {run.learning_rate for run in runs if run.method.name == "lora"} == {1e-4, 1e-3}


def test_a_base_listed_as_a_method_runs_only_once() -> None:
    study = STUDY.model_copy(update={"methods": (MethodSpec(name="base"),), "include_base": False})
    assert [run.method.name for run in expand(study)] == ["base"]


def test_adding_a_learning_rate_does_not_change_existing_run_ids() -> None:
    methods = (MethodSpec(name="lora", learning_rates=(1e-4, 1e-3, 1e-2)), *STUDY.methods[1:])
    more = expand(STUDY.model_copy(update={"methods": methods}))
    assert {run.run_id for run in expand(STUDY)} < {run.run_id for run in more}


def test_a_json_round_trip_preserves_a_run_and_its_id() -> None:
    for run in expand(STUDY):
        assert RunSpec.model_validate_json(run.model_dump_json()).run_id == run.run_id


def test_command_line_settings_override_those_of_a_run() -> None:
    run = override(
        expand(STUDY)[1],
        ["train.max_steps=7", "task.test_size=5", "learning_rate=2e-3", "model.dtype=float32"],
    )
    assert run.train.max_steps == 7
    assert run.task.options == {"test_size": 5}
    assert run.learning_rate == 2e-3


@pytest.mark.parametrize(
    "setting", ["train.max_step=7", "train.max_steps=many", "nonsense", "seed.x=1", "train.max_steps=[1"]
)
def test_an_override_with_an_invalid_path_is_rejected(setting: str) -> None:
    with pytest.raises(SpecError, match="--set"):
        override(expand(STUDY)[1], [setting])
