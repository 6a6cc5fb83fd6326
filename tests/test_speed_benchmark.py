"""The yardstick: a loop written by hand does what peftscope does, and the comparison sees where one does not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import plain_loop
import pytest
import speed
from speed_parts import overhead, scoring, study, training
from speed_parts.bench import Bench, NoData, Sizes, sizes_of
from speed_parts.compared import Goal, answer_differences, judged, loss_difference, rate, ratio
from speed_parts.peftscope_side import WORK, facts, grade, score, train

STEPS = 3
LORA = {"name": "lora", "knobs": {"r": 4}}


@pytest.fixture(scope="module")
def shared(tiny_folder: Path, sums_file: Path) -> dict[str, Any]:
    """What both sides begin with."""
    task = {
        "name": "math",
        "source": "files",
        "train": str(sums_file),
        "train_size": 24,
        "valid_size": 4,
        "test_size": 6,
        "max_length": 160,
        "max_new_tokens": 8,
        "general_tokens": 0,
    }
    return {"model": str(tiny_folder), "task": task, "batch_size": 4, "seed": 0}


@pytest.fixture(scope="module")
def told(shared: dict[str, Any]) -> dict[str, Any]:
    return facts({**shared, "methods": {"lora": LORA, "full": {"name": "full"}}})


def _plain(told: dict[str, Any], method: str, **job: Any) -> dict[str, Any]:
    trained = {"rows": told["rows"], "steps": STEPS, "learning_rate": 1e-2}
    return plain_loop.run({"model": told["folder"], "peft": told["methods"][method]["peft"], **trained, **job})


@pytest.mark.parametrize("method", ["lora", "full"])
def test_both_sides_have_the_same_losses_on_the_same_batches(
    shared: dict[str, Any], told: dict[str, Any], method: str
) -> None:
    spec = LORA if method == "lora" else {"name": "full"}
    own = {"title": method, "method": spec, "settings": ["plain"], "steps": STEPS, "learning_rate": 1e-2}
    ours = train({**shared, **own})["plain"]
    plain = _plain(told, method, batches=told["batches"][:STEPS])["steps"]
    assert loss_difference(plain, ours) < 1e-6
    assert loss_difference(plain, [*ours[:-1], {**ours[-1], "loss": ours[-1]["loss"] * 1.01}]) > 1e-3
    shuffled = _plain(told, method)["steps"]
    with pytest.raises(ValueError, match="not trained on the same batches"):
        loss_difference(shuffled, ours)


def test_both_sides_give_the_same_answers_with_the_same_weights(
    shared: dict[str, Any], told: dict[str, Any], tmp_path: Path, tiny_tokenizer: Any
) -> None:
    prompts = told["prompts"]["test"]
    given = {"prompts": prompts, "max_new_tokens": 8, "eval_batch_size": 50, "end_ids": told["end_ids"]}
    plain = _plain(told, "lora", save=str(tmp_path), **given)
    ours = score({**shared, "adapter": str(tmp_path)})
    decode = plain_decode(tiny_tokenizer)
    assert answer_differences(plain["answers"], ours["answers"], decode) == []
    assert grade({**shared, "answers": {"plain": plain["answers"]}})["scores"] == {"plain": ours["scores"]}

    changed = [*ours["answers"][:-1], {**ours["answers"][-1], "text": ours["answers"][-1]["text"][:3] + "§"}]
    (found,) = answer_differences(plain["answers"], changed, decode)
    assert (found.row, found.place) == (len(prompts) - 1, 3)
    gap_job = {"model": told["folder"], "adapter": str(tmp_path), "gaps_after": [prompts[-1]]}
    assert plain_loop.run(gap_job)["gaps"][0] > 0


def plain_decode(tokenizer: Any) -> Any:
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def test_answers_that_part_beyond_a_near_tie_are_counted_as_others() -> None:
    def decode(ids: Any) -> str:
        return "".join(map(chr, ids))

    wanted = [[97, 98, 99], [97, 98, 99], [97, 98]]
    given = [
        {"text": "abc", "num_tokens": 3},
        {"text": "axc", "num_tokens": 3},
        {"text": "ab", "num_tokens": 3},
    ]
    differences = answer_differences(wanted, given, decode)
    assert [(d.row, d.place) for d in differences] == [(1, 1), (2, 1)]
    found = judged(3, [type(d)(row=d.row, place=d.place, gap=gap) for d, gap in zip(differences, (5e-5, 2e-4))])
    assert (found["same"], found["near_ties"], found["different"]) == (1, 1, 1)
    assert judged(3, differences)["different"] == 2, "a difference nobody looked into is none to be excused"


def test_the_plain_loop_stops_at_given_texts(told: dict[str, Any]) -> None:
    given = {"prompts": told["prompts"]["test"][:1], "max_new_tokens": 8}
    (whole,) = _plain(told, "lora", **given)["answers"]
    tokenizer = plain_loop_tokenizer(told["folder"])
    stop = plain_decode(tokenizer)(whole)[:2]
    (cut,) = _plain(told, "lora", **given, stop_strings=[stop])["answers"]
    assert plain_decode(tokenizer)(cut) == stop
    assert len(cut) < len(whole)


def plain_loop_tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_the_plain_loop_trains_on_texts_as_on_their_tokens(told: dict[str, Any]) -> None:
    tokenizer = plain_loop_tokenizer(told["folder"])
    ids, prompt = plain_loop.tokenized(tokenizer, {"prompt": "What is 1 and 2?", "target": "3"})
    assert ids[:prompt] == tokenizer("What is 1 and 2?")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    batch = plain_loop.padded([(ids, prompt), (ids[:-2], prompt)], tokenizer.eos_token_id)
    assert batch["labels"][0].tolist() == [-100] * prompt + ids[prompt:]
    assert batch["labels"][1].tolist()[-2:] == [-100, -100]
    assert batch["attention_mask"].sum().item() == 2 * len(ids) - 2


def test_the_plain_loop_refuses_unknown_settings_and_imports_no_peftscope() -> None:
    with pytest.raises(KeyError, match="learning_rat"):
        plain_loop.run({"learning_rat": 1.0})
    assert "import peftscope" not in Path(plain_loop.__file__).read_text(encoding="utf-8")
    assert "from peftscope" not in Path(plain_loop.__file__).read_text(encoding="utf-8")


def test_rates_leave_out_the_first_steps_and_ratios_pair_repetitions() -> None:
    steps = [{"seconds": 9, "tokens": 1}, {"seconds": 2, "tokens": 300}, {"seconds": 1, "tokens": 300}]
    assert rate(steps, skip=1) == 200
    assert ratio([6.0, 8.0], [2.0, 2.0]) == {"median": 3.5, "least": 3.0, "most": 4.0}


def test_every_configuration_a_study_tried_counts_as_a_plain_process() -> None:
    runs = [
        {"method": "lora", "purpose": "trial", "steps": 2},
        {"method": "lora", "purpose": "final", "steps": 10},
        {"method": "ia3", "purpose": "final", "steps": 10},
    ]
    plain = {"lora": {"final_s": 10.0, "trial_s": 8.0}}
    assert study.plain_total(runs, plain) == 28.0
    ours = {"stages": {"load": 1.0, "train": 10.0, "score": 4.0, "losses": 2.0}, "train_time_s": 10.0}
    larger = study.extrapolated(runs, 10, ours=ours, plain={"process_s": 20.0, "score_s": 5.0}, valid=0.5)
    assert larger == {"compare_s": 1.0 + 2.0 + 2.0 + 17.0 + 17.0, "plain_s": 17.5 + 20.0 + 20.0}


def test_what_is_neither_training_nor_scoring_is_the_rest_of_a_run() -> None:
    row = {"stages": {"load": 1.0, "train": 6.0, "score": 2.0, "validate": 1.0}, "train_time_s": 5.0}
    assert overhead.shares(row) == {"train": 0.5, "score": 0.2, "rest": 0.3, "rest but validation": 0.2}


def test_the_page_says_which_marks_are_missed_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "length": 96,
        "batch_size": 4,
        "methods": {"lora on q and v": {s: {"above_base_bytes": b} for s, b in (("plain", 100), ("fast", 80))}},
        "llama": None,
    }
    document = {
        "part": "memory",
        "date": "2026-11-29",
        "seconds": 1.0,
        "machine": speed.machine(2),
        "model": "builtin:nano-lm",
        "found": found,
        "failure": None,
        "problems": ["one thing was left out"],
    }
    name = "memory above the base, fast"
    monkeypatch.setitem(speed.REASONS, name, "because")
    failed = {**document, "part": "workers", "found": None, "failure": "RuntimeError: no"}
    told = speed.page({"memory": document, "workers": failed})
    assert f"| {name} | ≤ 0.75 | 0.80 | **missed** | because |" in told
    assert "- one thing was left out" in told
    assert "- RuntimeError: no" in told
    monkeypatch.setitem(speed.MARKS, name, (None, 0.9))
    assert f"| {name} | ≤ 0.9 | 0.80 | met |  |" in speed.page({"memory": document})


def test_a_figure_without_a_mark_is_neither_met_nor_missed() -> None:
    assert Goal(name="x", value=1.0, text="1").met is None
    assert Goal(name="x", value=None, text="–", least=1).met is None
    assert Goal(name="x", value=1.0, text="1", least=1).met is True


def test_missing_data_are_told_before_anything_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoData, match=r"gsm8k_train\.jsonl and gsm8k_test\.jsonl"):
        sizes_of(tmp_path, quick=False)
    assert speed.main(["--data", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert "nothing was measured" in capsys.readouterr().err


def test_the_plain_loop_reads_a_job_and_writes_a_result(
    told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import logging

    monkeypatch.setattr(logging, "set_verbosity_error", lambda: None)
    monkeypatch.setattr(logging, "disable_progress_bar", lambda: None)
    job = {"model": told["folder"], "peft": None, "prompts": told["prompts"]["test"][:2], "max_new_tokens": 3}
    (tmp_path / "job.json").write_text(json.dumps(job))
    monkeypatch.setattr(sys, "argv", ["plain_loop.py", str(tmp_path / "job.json"), str(tmp_path / "result.json")])
    plain_loop.main()
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["answers"]) == 2
    assert result["total_s"] >= result["load_s"] + result["score_s"]


class InProcess(Bench):
    """Both sides in this process, so that a part is measured in seconds."""

    def plain(self, **job: Any) -> dict[str, Any]:
        return plain_loop.run(job)

    def peftscope(self, work: str, **job: Any) -> dict[str, Any]:
        return WORK[work]({"seed": 0, **job})


@pytest.fixture
def bench(shared: dict[str, Any], tmp_path: Path) -> InProcess:
    """The parts' sizes on the tiny model."""
    sizes = Sizes(
        model=shared["model"],
        task=shared["task"],
        study_task={},
        study_steps=1,
        study_methods=(),
        scored=("lora", "prompt-tuning", "full"),
        trained=("lora", "full"),
        learned_steps=2,
        timed_steps=1,
        scored_prompts=6,
        few_prompts=2,
        alone_prompts=2,
        other_batches=(1,),
    )
    return InProcess(sizes=sizes, folder=tmp_path, repetitions=2, seconds=1e6)


@pytest.mark.filterwarnings("ignore:Position ids are not supported")
def test_scoring_is_measured_in_turns_and_held_equal(bench: InProcess) -> None:
    found = json.loads(json.dumps(scoring.measure(bench)))
    assert all(len(row["plain"]) == len(row["peftscope"]) == 2 for row in found["methods"].values())
    assert [row["equality"]["answers"] for row in found["methods"].values()] == [6, 2, 6]
    goals = {goal.name: goal for goal in scoring.goals(found)}
    assert goals["scoring, other answers"].met is True
    assert sum(line.startswith("| ") for line in scoring.lines(found)) == 2 + 3 + 1
    found["methods"]["lora"]["equality"]["different"] = 1
    assert {goal.name: goal for goal in scoring.goals(found)}["scoring, other answers"].met is False


def test_training_is_measured_in_every_memory_setting(bench: InProcess) -> None:
    found = json.loads(json.dumps(training.measure(bench)))
    assert set(training.settings()) <= set(found["methods"]["lora"])
    assert all(len(sides) == 2 for sides in (found["methods"]["full"][s] for s in training.settings()))
    goals = {goal.name: goal for goal in training.goals(found)}
    assert goals["training, losses on equal batches"].met is True
    assert len(training.lines(found)) == 4 + 2
    found["methods"]["full"]["losses"]["plain"] = 0.01
    assert {goal.name: goal for goal in training.goals(found)}["training, losses on equal batches"].met is False


def test_a_part_out_of_time_measures_everything_once(bench: InProcess) -> None:
    bench.seconds = 0.0
    found = training.measure(bench)
    assert all(len(row["plain loop"]) == 1 for row in found["methods"].values())
    assert bench.problems == ["lora: no time for repetition 2", "full: no time for repetition 2"]
