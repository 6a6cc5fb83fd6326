"""A study with mistakes gets one message with all of them."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from peftscope.errors import SpecError
from peftscope.schema.reader import read_study
from peftscope.schema.study import MethodSpec
from peftscope.study.vocabulary import vocabulary

GOOD = """
name: good
model: builtin:smollm2-135m
task: {name: math, source: procedural, dataset: chain_sum}
methods: [{name: lora, learning_rates: [2e-4, 3e-4]}, {name: oft, learning_rates: [1e-4, 5e-4]}]
"""

FIVE_MISTAKES = """
name: five mistakes
model: {source: builtin:smollm2-135m, dtype: bfloat}
task: {name: math, source: procedural, datset: chain_sum}
methods: [lorra, {name: oft, knobs: {block_size: 8}}]
train: {max_step: 10}
seeds: [1, 1]
"""


def _read(text: str, folder: Path) -> object:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return read_study(path, vocabulary())


def test_a_good_study_is_read(tmp_path: Path) -> None:
    study = _read(GOOD, tmp_path)
    assert [m.title for m in study.methods] == ["lora", "oft"]  # type: ignore[attr-defined]
    assert study.methods[1].learning_rates == (1e-4, 5e-4)  # type: ignore[attr-defined]


def test_one_error_reports_every_mistake_with_location_and_closest_match(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _read(FIVE_MISTAKES, tmp_path)
    message = str(caught.value)
    assert len(caught.value.problems) == 7  # the name with a blank in it and the seeds are two more
    for part in (
        "model.dtype",
        "given 'bfloat'; did you mean 'bfloat16'?",
        "task.datset: unknown setting 'datset'; did you mean 'dataset'?",
        "methods[0]: unknown method 'lorra'; did you mean 'lora'?",
        "methods[1].knobs: unknown setting of oft 'block_size'; did you mean 'oft_block_size'?",
        "train.max_step: unknown setting 'max_step'; did you mean 'max_steps'?",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[1, 2]", "a study is a mapping"),
        ("name: [", "not valid YAML"),
        ("name: a\nname: b", "is given twice"),
        (GOOD + "seeds: [1, 1]", "seed is listed more than once"),
        (GOOD + "seeds: [-1]", "greater than or equal to 0"),
        (GOOD.replace("[1e-4, 5e-4]", "[1e-4, 1e-4]"), "learning rate is listed more than once"),
        (GOOD.replace("[1e-4, 5e-4]", "[-1e-4]"), "greater than 0"),
        (GOOD.replace("1e-4, 5e-4", ".nan"), "methods[1].learning_rates[0]"),
        (GOOD.replace("{name: oft,", "{name: lora,"), "label"),
        (GOOD.replace("methods: [", "methods: [lora, lora, "), "lora is listed more than once"),
        (GOOD.replace("name: math", "name: maths"), "did you mean 'math'?"),
        (GOOD + "tuning: {}", "learning_rates and tuning"),
        (GOOD.replace("learning_rates: [1e", "lr: [1e"), "unknown setting 'lr'; did you mean 'learning_rates'?"),
        (GOOD + "seeds: 0", "seeds: input should be a list, such as [a, b]; given 0"),
        (
            "name: s\nmodel: m\ntask: math\nmethods: [{name: lora, search: {rank: [8]}}]\ntuning: {}",
            "setting of lora 'rank'",
        ),
    ],
)
def test_an_invalid_study_is_rejected_with_the_reason(text: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"study\.yaml") as caught:
        _read(text, tmp_path)
    assert part in str(caught.value)


def test_a_missing_study_file_suggests_the_closest_filename(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text(GOOD)
    with pytest.raises(SpecError, match=r"did you mean .*demo\.yaml"):
        read_study(tmp_path / "dmeo.yaml", vocabulary())


def test_every_study_we_ship_is_read() -> None:
    root = Path(__file__).resolve().parents[2]
    shipped = [*root.glob("studies/*.yaml"), root / "src/peftscope/study/study.yaml"]
    assert len(shipped) >= 2
    for path in shipped:
        read_study(path, vocabulary())


BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (BOMB, "its aliases stand for more than"),
        ("name: &n [*n]", "an alias stands inside of what it stands for"),
        ("name: " + "[" * 5000, "nested more than 50 deep"),
        ("name: " + "{a: " * 60 + "1" + "}" * 60, "nested more than 50 deep"),
        ("name: " + "9" * 10_000, "integer string conversion"),
        ("# " + "x" * 3_000_000, "no study has more than"),
    ],
    ids=["bomb", "cycle", "brackets", "braces", "digits", "large"],
)
def test_a_hostile_file_is_refused_in_no_time_and_little_memory(text: str, part: str, tmp_path: Path) -> None:
    started, before = time.perf_counter(), psutil.Process().memory_info().rss
    with pytest.raises(SpecError, match=part):
        _read(text, tmp_path)
    assert time.perf_counter() - started < 5
    assert psutil.Process().memory_info().rss - before < 200 * 2**20


def test_what_is_wrong_inside_of_a_list_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _read(GOOD.replace("[2e-4, 3e-4]", "[0]"), tmp_path)
    assert caught.value.problems == ("methods[0].learning_rates[0]: input should be greater than 0; given 0",)


@pytest.mark.parametrize("sign", ["\x1b[31m", "\x07", "\n", "\x9b2J", "\u202e"])
def test_a_label_cannot_steer_a_terminal(sign: str) -> None:
    assert MethodSpec(name="lora", label=f"a{sign}b").title.isprintable()
