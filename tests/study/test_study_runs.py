"""Promises of the front door about studies that were run, by real runs of a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import peftscope as ps
from peftscope.errors import SpecError
from peftscope.study.recommendation import best_run_of
from peftscope.study.study import Study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(fields: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same, run through the front door."""
    made = ps.Study(fields, out=tmp_path_factory.mktemp("front") / "front")
    made.events = []  # type: ignore[attr-defined]
    made.run(quiet=True, on_event=made.events.append)  # type: ignore[attr-defined]
    return made


def _command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "peftscope", *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd)


def test_a_study_started_here_is_the_one_the_command_goes_on_with(study: Study, fields: dict[str, object]) -> None:
    file = study.folder.parent / "study.yaml"
    file.write_text(json.dumps(fields))
    before = {path: path.stat().st_mtime_ns for path in (study.folder / "records").glob("*.json")}
    done = _command("compare", str(file), "--out", str(study.folder), "--json", cwd=study.folder.parent)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in (study.folder / "records").glob("*.json")} == before
    assert json.loads(done.stdout)["schema"] == "peftscope.compare/1"


def test_documents_are_those_the_commands_print(study: Study) -> None:
    place, cwd = str(study.folder), study.folder.parent
    run = study.results().runs["run_id"].iloc[1]
    documents = {
        ("status", place): study.status(),
        ("recommend", place): study.recommend(),
        ("show", run, "--study", place): study.show(run),
        ("methods", "lora"): ps.methods("lora"),
    }
    for command, found in documents.items():
        done = _command(*command, "--json", cwd=cwd)
        assert json.loads(done.stdout) == json.loads(json.dumps(found.document(), default=str)), command


def test_events_tell_of_every_run_from_start_to_end(study: Study) -> None:
    kinds = [event["event"] for event in study.events]  # type: ignore[attr-defined]
    assert kinds[0] == "planned"
    assert kinds[-1] == "closed"
    assert kinds.count("started") == kinds.count("ended") == 5


def test_results_are_tidy_frames(study: Study) -> None:
    found = study.results()
    assert len(found.runs) == 5
    assert {"run_id", "method", "seed", "test_score"} <= set(found.runs.columns)
    assert {"run_id", "example_id", "score"} <= set(found.examples.columns)
    assert set(found.candidates()["method"]) == {"base", "lora", "ia3"}
    assert {"first", "second", "difference", "verdict"} <= set(found.pairs().columns)
    assert found.trials().empty
    assert isinstance(found.curves(), pd.DataFrame)
    assert set(found.curves()["method"]) == {"lora", "ia3"}


def test_a_recommendation_is_values_text_and_html(study: Study) -> None:
    recommended = study.recommend(max_memory="12GB", prefer=["score", "memory"])
    assert recommended.choice in {"base", "lora", "ia3"}
    assert recommended.recommendation.limits.costs == {"memory": 12e9}
    assert str(recommended.choice) in recommended.text()
    assert repr(recommended) == recommended.text()
    assert "<pre" in recommended._repr_html_()
    assert "\x1b[" not in recommended._repr_html_() + recommended.text()


def test_wrong_wishes_are_named_as_arguments_all_at_once(study: Study) -> None:
    with pytest.raises(SpecError) as caught:
        study.recommend(max_memory="12 potatoes", max_time="30", prefer="scores", have="lorra")
    text = str(caught.value)
    for part in ("max_memory: '12 potatoes'", "max_time: '30'", "did you mean 'score'?", "did you mean 'lora'?"):
        assert part in text
    assert "--" not in text


def test_the_trained_model_of_a_run_is_opened_ready_to_use(study: Study) -> None:
    runs = study.results().runs
    run = runs.loc[runs["method"] == "lora", "run_id"].iloc[0]
    model, processor = opened = study.open(run)
    assert not model.training
    inputs = processor("1 + 1 =", return_tensors="pt")
    with torch.no_grad():
        before = model(**inputs).logits
        with model.disable_adapter():
            after = model(**inputs).logits
    assert not torch.equal(before, after)
    assert (opened.adapter / "adapter_config.json").is_file()
    assert repr(opened).startswith("TrainedRun('lora")
    assert len(repr(opened)) < 300
    with pytest.raises(SpecError, match="no such run"):
        study.open("0000")


def test_the_seed_to_take_is_the_best_on_validation_and_not_on_the_test(study: Study) -> None:
    found = study.results()
    own = found.runs[found.runs["method"] == "lora"]
    run, seeds = best_run_of(found, "lora")
    assert (run, seeds) == (own.loc[own["valid_loss"].idxmin(), "run_id"], len(own))
    assert (study.folder / "adapters" / str(run)).is_dir()


def test_a_report_is_written_where_it_is_asked_for(study: Study, tmp_path: Path) -> None:
    report = study.report(tmp_path / "page")
    assert report.page == tmp_path / "page" / "report.html"
    assert report.page.is_file()


def test_a_script_without_a_main_guard_runs_its_study_once(fields: dict[str, object], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import peftscope as ps\n"
        f"study = ps.Study({json.dumps({**fields, 'methods': ['lora'], 'seeds': [0]})!s}, out='here')\n".replace(
            "false", "False"
        ).replace("true", "True")
        + "print('once', len(study.run(quiet=True).records))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert done.stdout == "once 2\n", done.stderr
