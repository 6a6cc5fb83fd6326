"""What a stranger meets at the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from peftscope.execution.executors.local import LocalExecutor
from peftscope.methods.catalog import cards
from tiny import tiny_llama, tiny_tokenizer

Call = Callable[..., tuple[int, str, str]]


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of two methods on a tiny model that takes seconds."""
    tiny_llama().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    rows = [{"text": f"count {n}", "label": "odd" if n % 2 else "even"} for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    document: dict[str, Any] = {
        "name": "small",
        "model": "model",
        "task": {
            "name": "own-data", "train": "rows.jsonl", "prompt": "{text}:", "target": "label",
            "valid_size": 4, "test_size": 6, "max_new_tokens": 4,
            "max_length": 64, "general_tokens": 0,
        },
        "methods": ["lora", "xlora"],
        "seeds": [0],
        "train": {"max_steps": 2},
        "measure": {"latency": False},
    }  # fmt: skip
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_methods_json_lists_45_types_and_at_least_12_variants(call: Call) -> None:
    code, out, _ = call("methods", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "peftscope.methods/1"
    entries = document["methods"]
    assert len({e["peft_type"] for e in entries if e["peft_type"]}) == 45
    assert sum(e["variant_of"] is not None for e in entries) >= 12
    assert all(e["reason"] for e in entries if e["status"] == "refused")
    assert {"name", "family", "peft_type", "status", "reason"} <= entries[0].keys()


@pytest.mark.parametrize("name", sorted(cards()))
def test_every_card_can_be_shown(name: str, call: Call) -> None:
    code, out, _ = call("methods", name)
    assert code == 0
    assert cards()[name].summary[:40] in out


def test_an_unknown_method_gets_the_nearest_match_and_exit_code_2(call: Call) -> None:
    code, _, err = call("methods", "lorra")
    assert code == 2
    assert "did you mean 'lora'?" in err
    assert "Traceback" not in err


def test_the_version_can_be_asked_for(call: Call) -> None:
    code, out, _ = call("--version")
    assert (code, out.split()[0]) == (0, "peftscope")


def test_an_error_is_a_json_document_where_json_is_asked_for(call: Call, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: x\nmodel: builtin:nano-lm\ntask: maths\nmethods: [lorra]\n")
    code, out, err = call("compare", "study.yaml", "--json")
    document = json.loads(out)
    assert code == 2
    assert (document["schema"], document["error"], document["source"]) == (
        "peftscope.error/1",
        "SpecError",
        "study.yaml",
    )
    assert len(document["problems"]) == 2
    assert "lorra" in err


def test_a_terminal_without_utf8_gets_replacements(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-m", "peftscope", "methods", "lora"], capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"learning rate" in done.stdout
    done.stdout.decode("ascii")


def test_cut_off_weights_are_found_before_the_first_run(call: Call, study: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, _, err = call("compare", "study.yaml")
    assert code == 2
    assert "model.safetensors is cut off or damaged" in err
    assert not list((tmp_path / "results").glob("*/records/*"))


def test_paths_in_a_study_are_relative_to_its_file(call: Call, study: Path, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    for name in ("study.yaml", "rows.jsonl", "model", "graders.py"):
        if name == "graders.py":
            (tmp_path / name).write_text("def half(output, target):\n    return 0.5\n")
        (tmp_path / name).rename(tmp_path / "project" / name)
    document = yaml.safe_load((tmp_path / "project/study.yaml").read_text())
    document["task"]["metric"] = "graders:half"
    document["methods"] = ["lora"]
    (tmp_path / "project/study.yaml").write_text(yaml.safe_dump(document))
    code, _, err = call("compare", "project/study.yaml", "--quiet")
    assert code == 0, err
    (record,) = (r for r in map(_json, (tmp_path / "results/small/records").iterdir()) if r["spec"]["learning_rate"])
    assert record["metrics"]["test_score"] == 0.5
    assert record["spec"]["task"]["options"]["train"] == "rows.jsonl", "ids do not depend on where a project lies"
    code, out, err = call("rerun", record["run_id"], "--quiet")
    assert code == 0, err
    assert "every figure that can repeat is the same" in out
    code, _, err = call("plan", "project/study.yaml", "--json")
    assert code == 0, err


def test_data_that_are_not_beside_the_study_are_named_with_where_they_were_looked_for(
    call: Call, study: Path, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    study.rename(tmp_path / "sub/study.yaml")
    (tmp_path / "model").rename(tmp_path / "sub/model")
    code, _, err = call("compare", "sub/study.yaml")
    assert code == 2
    assert f"looked for {tmp_path / 'sub/rows.jsonl'}" in err
    assert not (tmp_path / "results").exists(), "nothing is left behind"
    (tmp_path / "mine").mkdir()
    assert call("compare", "sub/study.yaml", "--out", str(tmp_path / "mine/s"))[0] == 2
    assert (tmp_path / "mine").is_dir(), "the user's own folder stays"
    assert not (tmp_path / "mine/s").exists()


def test_compare_with_nothing_left_to_do_answers_without_reading_model_or_data(
    call: Call, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = call("compare", "study.yaml", "--quiet")

    def refuse(self: LocalExecutor, runs: object) -> None:
        raise AssertionError("nothing needs to be checked")

    with monkeypatch.context() as patched:
        patched.setattr(LocalExecutor, "check", refuse)
        assert call("compare", "study.yaml", "--quiet")[:2] == first[:2]
        rows = (tmp_path / "rows.jsonl").read_text()
        (tmp_path / "rows.jsonl").write_text(rows + '\n{"text": "count 99", "label": "odd"}')
        with pytest.raises(AssertionError, match="nothing needs"):
            call("compare", "study.yaml", "--quiet")
    code, _, err = call("compare", "study.yaml")
    assert code == 1
    assert "done under other conditions start again" in err


def test_a_setting_that_stands_elsewhere_is_named_with_its_place(call: Call, study: Path) -> None:
    document = yaml.safe_load(study.read_text())
    document["train"]["max_length"] = 64
    study.write_text(yaml.safe_dump(document))
    code, _, err = call("compare", "study.yaml")
    assert code == 2
    assert "train.max_length: unknown setting 'max_length' here; it stands under task.max_length" in err


def test_init_writes_a_valid_study_and_overwrites_none_without_force(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("init")
    assert code == 0
    assert "three hours on two CPU cores" in out, "said before it starts"
    assert "methods:" in (tmp_path / "study.yaml").read_text()
    code, _, err = call("init")
    assert code == 2
    assert "--force" in err
    code, out, _ = call("init", "--force", "--json")
    assert code == 0
    assert json.loads(out) == {"schema": "peftscope.init/1", "path": "study.yaml"}


def test_compare_scores_every_method_and_reports_failures_with_exit_code_1(
    call: Call, study: Path, tmp_path: Path
) -> None:
    code, out, _ = call("compare", str(study), "--json", "--quiet")
    document = json.loads(out)
    assert code == 1  # xlora is refused, which is worth looking at
    assert document["schema"] == "peftscope.compare/1"
    assert {r["spec"]["method"]["name"]: r["status"] for r in document["runs"]} == {
        "base": "ok", "lora": "ok", "xlora": "refused",
    }  # fmt: skip
    lora = next(row for row in document["summary"] if row["method"] == "lora")
    assert lora["gain_interval"][0] <= lora["gain"] <= lora["gain_interval"][1]
    assert len(list((tmp_path / "results/small/records").glob("*.json"))) == 3

    code, out, err = call("compare", str(study))  # again: all there, shown as a table
    assert code == 1
    assert "xlora" in out
    assert "refused" in out
    assert "done already" in err

    rows = tmp_path / "rows.jsonl"
    rows.write_text(rows.read_text().replace("odd", "uneven"))
    _, _, err = call("compare", str(study))  # the data changed, so what was done does not count
    assert "done already" not in err
    assert "under other conditions start again" in err
    assert "task.texts.train" in err

    document = yaml.safe_load(study.read_text())
    document["train"]["max_steps"] = 3
    study.write_text(yaml.safe_dump(document))
    _, _, err = call("compare", str(study))
    assert "train.max_steps: 2 → 3" in err
    assert "3 runs of the former study stay" in err


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"target": "lable"}, "lable"),
        ({"train": "nothing.jsonl"}, "nothing.jsonl"),
        ({"metric": "exact"}, "exact_match"),
        ({"test_size": 1000}, "give smaller valid_size and test_size"),
        ({"prompt": "x" * 500 + "{text}"}, "no room"),
    ],
)
def test_wrong_data_is_refused_before_anything_is_trained(
    change: dict[str, Any], part: str, call: Call, study: Path, tmp_path: Path
) -> None:
    document = yaml.safe_load(study.read_text())
    document["task"] |= change
    study.write_text(yaml.safe_dump(document))
    code, _, err = call("compare", str(study), "--quiet")
    assert code == 2
    assert part in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("results/small/records/*"))


def test_a_model_that_is_not_there_is_named(call: Call, study: Path) -> None:
    document = yaml.safe_load(study.read_text())
    document["model"] = "./modle"
    study.write_text(yaml.safe_dump(document))
    code, _, err = call("compare", str(study), "--quiet")
    assert code == 2
    assert "modle" in err


def test_a_folder_that_cannot_be_written_to_is_named(call: Call, study: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    code, _, err = call("compare", str(study), "--quiet", "--out", "taken")
    assert code == 2
    assert "taken" in err
    assert "choose another folder" in err


def test_run_accepts_an_unmodified_experiment_folder(call: Call, study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lora" / "rank4"
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    rows = [{"question": f"What is {n} and 1?", "answer": f"#### {n + 1}"} for n in range(30)]
    (tmp_path / "sums.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    arguments = ["run", str(folder), "--model", "model", "--data", "sums.jsonl", "--json", "--quiet"]
    sizes = ["task.test_size=4", "task.valid_size=4", "task.max_new_tokens=4", "train.max_steps=2"]
    cheap = ["task.general_tokens=0", "measure.latency=false", "model.dtype=float32", "train.eval_every=null"]
    code, out, err = call(*arguments, *(part for setting in sizes + cheap for part in ("--set", setting)))
    assert code == 0, err
    (run,) = json.loads(out)["runs"]
    assert run["method_facts"]["adapted_modules"] == [f"model.layers.{i}.self_attn.q_proj" for i in range(2)]
    assert run["metrics"]["num_trainable_params"] == 2 * 4 * (64 + 64)


@pytest.mark.parametrize("arguments", [["run", "nowhere"], ["compare", "nothing.yaml"], ["compare"], ["comparre"]])
def test_wrong_requests_end_with_exit_code_2_and_no_traceback(arguments: list[str], call: Call) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert err
    assert "Traceback" not in err


def test_every_command_in_the_readme_exists() -> None:
    import typer.main

    from peftscope.cli import app

    text = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^(?:\.venv/bin/)?peftscope ([\w-]+)", text, flags=re.MULTILINE))
    assert commands
    assert commands <= set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
