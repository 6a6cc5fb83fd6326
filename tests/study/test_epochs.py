"""Epochs are counted as steps when the data are read, and the study goes on as one of so many steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from peftscope.errors import SpecError
from peftscope.schema.study import TrainSpec
from peftscope.store.study import read_stored_study
from peftscope.study.study import Study


def test_epochs_and_steps_exclude_each_other() -> None:
    with pytest.raises(SpecError, match="epochs and max_steps: both say how long"):
        Study(name="s", model="builtin:nano-lm", task="math", methods=["lora"], train={"epochs": 1, "max_steps": 9})


def test_epochs_are_rounded_to_whole_steps_of_all_samples_in_a_step() -> None:
    assert TrainSpec(epochs=1.5, batch_size=4, accumulation=2).with_steps(100).max_steps == 19
    assert TrainSpec(epochs=0.001).with_steps(10).max_steps == 1
    assert TrainSpec(max_steps=7).with_steps(100) == TrainSpec(max_steps=7)


@pytest.mark.slow
def test_a_study_in_epochs_runs_and_is_finished_by_a_second_call(tmp_path: Path) -> None:
    rows = [{"text": f"parcel {i}", "team": ("post", "desk")[i % 2]} for i in range(50)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = Study(
        name="s",
        model="builtin:nano-lm",
        task={"name": "own-data", "train": str(tmp_path / "d.jsonl"), "general_tokens": 0, "max_new_tokens": 8},
        methods=["lora"],
        train={"epochs": 2, "batch_size": 8},
        measure={"latency": False, "metered_steps": 0},
        out=tmp_path / "out",
    )
    first = study.run(quiet=True)
    trained = next(record for record in first.records if record.spec.method.name == "lora")
    assert (trained.spec.train.max_steps, trained.metrics["num_steps"]) == (10, 10), "40 of the 50 rows are trained on"
    stored = read_stored_study(tmp_path / "out")
    assert stored is not None
    assert stored.train.max_steps == 10
    again = study.run(quiet=True)
    assert [r.attempts for r in again.records] == [r.attempts for r in first.records]
    assert not study.status().has_failures
