"""A newcomer asks what to take, and gets an answer with everything it rests on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peftscope.study.requirements import commonest_method
from pretend import a_record, a_run, a_study_folder
from pretend_study import make_study

Call = Callable[..., tuple[int, str, str]]
SHARES = {"base": 0.2, "lora": 0.50, "rslora": 0.53, "ln-tuning": 0.528, "ia3": 0.40}


@pytest.fixture
def columns() -> int:
    """Width of the terminal."""
    return 90


def _text(out: str) -> str:
    """Without the breaks of lines."""
    return " ".join(out.split())


def _document(call: Call, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = call("recommend", *arguments, "--json")
    return code, json.loads(out)


def test_the_recommendation_is_in_plain_words_with_its_evidence(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES, study={"tuning": {"trials": 4}})
    code, out, err = call("recommend", "results/demo")
    assert code == 0, err
    text = _text(out)
    for part in (
        "Take rslora accuracy 53.0 % [",
        "over the untouched base (3 seeds, 400 test examples",
        "It costs: training memory 1.19 GB, checkpoint 78.2 MB",
        "Cheaper, and perhaps worse: ln-tuning (by up to ",
        "points) in training memory, checkpoint",
        "It detectably beats 1 of 3",
        "Undecided, neither better nor shown to be the same (all 10 pairs judged at once): ln-tuning (+0.",
        "The choice, rslora, is lora with one setting changed: use_rslora=True",
        "more seeds of each would distinguish rslora from lora",
        "4 trials offered to each of 4 methods; 16 made, 8 of them ended early",
        "intervals are conditional on the frozen configuration",
        "variants of lora differ in r",
    ):
        assert part in text, part
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 90


@pytest.mark.parametrize(
    ("ranks", "told"),
    [
        ({"rslora": 16, "lora": 16}, "use_rslora=True. "),
        ({"rslora": 32}, "use_rslora=True. "),
        ({"lora": 64}, "use_rslora=True. "),
        ({}, "use_rslora=True; it ran with r=64, lora with r=32. "),
        ({"lora": 128, "rslora": 4}, "use_rslora=True; it ran with r=4, lora with r=128. "),
    ],
)
def test_related_methods_are_described_by_the_settings_actually_run(
    call: Call, tmp_path: Path, ranks: dict[str, int], told: str
) -> None:
    methods = [
        {"name": name, "knobs": {"r": ranks[name]} if name in ranks else {}} for name in SHARES if name != "base"
    ]
    make_study(tmp_path / "results/demo", SHARES, study={"tuning": {"trials": 2}, "methods": methods})
    sentence = f"The choice, rslora, is lora with one setting changed: {told}"
    assert sentence in _text(call("recommend", "results/demo")[1])
    (relative,) = _document(call, "results/demo")[1]["relatives"]
    assert bool(relative["knobs"]) == ("ran with" in told)
    if ranks == {}:
        call("report", "results/demo")
        assert sentence.strip() in _text((tmp_path / "results/demo/report/report.html").read_text())


def test_limits_filter_and_preferences_rank(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES)
    code, document = _document(call, "results/demo", "--max-checkpoint", "50MB", "--prefer", "score,checkpoint")
    assert code == 0
    assert document["schema"] == "peftscope.recommend/1"
    assert document["choice"]["method"] == "ln-tuning"
    (excluded,) = document["excluded"]
    assert excluded["method"] == "rslora"
    assert excluded["breaches"] == [{"limit": "checkpoint", "value": 78_200_000, "bound": 50_000_000}]
    assert {tie["method"] for tie in document["tied"]} == {"lora"}
    assert document["limits"]["checkpoint"] == 50_000_000
    out = _text(call("recommend", "results/demo", "--max-checkpoint", "50MB")[1])
    assert "What the limits left out: 1 (checkpoint ≤ 50MB)" in out
    assert "checkpoint 78.2 MB, 28.2 MB over" in out


def test_a_wider_margin_turns_undecided_pairs_into_equivalent_ones(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES)
    kinds = {
        margin: {tie["method"]: tie["kind"] for tie in _document(call, "results/demo", "--margin", margin)[1]["tied"]}
        for margin in ("2%", "0.15")
    }
    assert kinds["2%"]["ln-tuning"] == "undecided"
    assert kinds["0.15"]["ln-tuning"] == "equivalent"


def test_an_interval_extending_below_the_minimum_score_is_reported(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES)
    text = _text(call("recommend", "results/demo", "--min-score", "52%")[1])
    assert "The lower end of its interval is below the 52.0 % you ask for." in text


def test_if_nothing_beats_the_base_no_fine_tuning_is_recommended(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/flat", {"base": 0.5, "lora": 0.51, "rslora": 0.48}, num_examples=100)
    code, out, _ = call("recommend", "results/flat")
    assert code == 0
    text = _text(out)
    assert "Nothing here is detectably better than leaving the model alone." in text
    assert "The best estimate is lora: accuracy 51.0 %" in text
    assert "Cheap to try first" not in text
    assert _document(call, "results/flat")[1]["leave_alone"] is True


def test_unsatisfiable_limits_exit_with_code_1_and_the_nearest_method(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES)
    code, out, _ = call("recommend", "results/demo", "--min-score", "0.9")
    assert code == 1
    assert "Nothing here satisfies the limits" in out
    assert "Nearest to them: rslora, accuracy 53.0 %" in _text(out)


def test_failed_runs_are_shown_and_end_with_1(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES, broken={"ia3": "oom"})
    code, out, _ = call("recommend", "results/demo")
    assert code == 1
    assert "Take rslora" in out
    assert "ia3: oom: CUDA out of memory" in out
    assert _document(call, "results/demo")[1]["failures"] == {"ia3": ["oom: CUDA out of memory"]}


def test_a_method_whose_tuning_failed_completely_is_reported(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES, study={"tuning": {"trials": 3}}, broken={"ia3": "trials"})
    code, out, _ = call("recommend", "results/demo")
    assert code == 1
    assert "Take rslora" in out
    assert "ia3: no trial ended well, so nothing was frozen: diverged: the loss became infinite" in _text(out)


def test_runs_under_other_conditions_are_excluded_unless_requested(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES, protocols={"rslora": "other weights"})
    code, out, err = call("recommend", "results/demo")
    assert "Take ln-tuning" in out
    assert "note: 3 runs under other conditions left out" in err
    assert "weights:" in out
    assert "Take rslora" in call("recommend", "results/demo", "--across")[1]
    assert code == 0


def test_all_errors_in_a_request_are_reported_together(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES)
    code, out, err = call(
        "recommend", "results/demo", "--max-memory", "12 potatoes", "--max-time", "30", "--min-score", "much",
        "--prefer", "scores,memory,memory", "--have", "lorra",
    )  # fmt: skip
    assert (code, out) == (2, "")
    for part in ("--max-memory: '12 potatoes'", "--max-time: '30'", "--min-score: 'much'", "did you mean 'score'?",
                 "memory is listed more than once", "did you mean 'lora'?"):  # fmt: skip
        assert part in err, part
    code, _, err = call("recommend", "results/demo", "--min-score", "40")
    assert code == 2
    assert "write 40%" in err


def test_units_are_read_as_they_are_written(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", SHARES)
    limits = _document(
        call, "results/demo", "--max-memory", "8GiB", "--max-time", "30min", "--max-latency", "80ms",
        "--max-forgetting", "0.1", "--min-score", "10%",
    )[1]["limits"]  # fmt: skip
    assert limits == {
        "memory": 8 * 2**30, "checkpoint": None, "time": 1800.0, "forgetting": 0.1, "latency": pytest.approx(0.08),
        "score": 0.1, "needs": [], "drift": None, "bleed": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "why", "left_out"),
    [
        (["--servable", "vllm"], "vLLM does not load it as a LoRA", {"ln-tuning", "prompt-tuning"}),
        (["--servable", "diffusers"], "diffusers does not load it as a LoRA", {"ln-tuning", "prompt-tuning"}),
        (["--quantizable"], "does not train on a quantized base", {"kasa"}),
        (["--servable", "vllm", "--servable", "llama.cpp"], "vLLM does not load it as a LoRA", {"ln-tuning"}),
        (["--mergeable"], "cannot be merged", {"prompt-tuning"}),
    ],
)
def test_methods_that_lack_an_ability_are_left_out_with_the_reason(
    option: list[str], why: str, left_out: set[str], call: Call, tmp_path: Path
) -> None:
    scores = {"base": 0.1, "lora": 0.4, "ln-tuning": 0.5, "kasa": 0.6, "prompt-tuning": 0.7}
    make_study(tmp_path / "results/demo", scores)
    document = _document(call, "results/demo", *option)[1]
    assert left_out <= {each["method"] for each in document["excluded"]}
    assert document["choice"]["method"] not in left_out
    assert why in call("recommend", "results/demo", *option)[1]


def test_an_unknown_server_is_named_with_those_there_are(call: Call, tmp_path: Path) -> None:
    make_study(tmp_path / "results/demo", {"base": 0.1, "lora": 0.4})
    code, _, err = call("recommend", "results/demo", "--servable", "llamacpp")
    assert code == 2
    assert "did you mean 'llama.cpp'?" in err


def test_lora_is_the_default_current_method() -> None:
    assert commonest_method() == "lora"


def test_a_missing_study_or_one_without_results_is_a_plain_error(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    a_study_folder(tmp_path / "results/lost", records=[a_record(a_run(), "oom")])
    trial = a_run().model_copy(update={"purpose": "trial"})
    a_study_folder(tmp_path / "results/tuning", records=[a_record(trial), a_record(a_run("base"))])
    for place, why in {
        "nowhere": "no such file or folder",
        "empty": "holds no records",
        "results/lost": "none of its 1 final runs has a result: oom: oom for a reason",
        "results/tuning": "no method's final run has ended yet, only trials (1)",
    }.items():
        code, out, err = call("recommend", place)
        assert (code, out) == (2, ""), place
        assert why in err, place


def test_a_method_name_cannot_inject_terminal_control_codes(call: Call, tmp_path: Path) -> None:
    label, shown = "[red]x[/] \x1b[2J", "[red]x[/] \ufffd[2J"
    make_study(
        tmp_path / "results/demo",
        {"base": 0.2, shown: 0.5, "ia3": 0.3},
        study={"methods": [{"name": "lora", "label": label}, "ia3"]},
        broken={shown: "oom"},
    )
    out = call("recommend", "results/demo")[1]
    assert "\x1b[2J" not in out
    assert "Take [red]x[/]" in out
    assert f"{shown}: oom" in out
