"""Answers that are programs: what passes, what does not, and what they may not do."""

import os
import sys
import time

import pytest

from peftscope.errors import SpecError
from peftscope.schema.study import TaskSpec
from peftscope.tasks.registry import options_of
from peftscope.tasks.text import code_runs
from peftscope.tasks.text.code_runs import passes

TESTS = "{answer}\nassert twice(4) == 8"
RIGHT = "def twice(x):\n    return 2 * x"


@pytest.mark.parametrize(
    "answer",
    [RIGHT, f"Here it is:\n```python\n{RIGHT}\n```\nIt doubles.", f"```\n{RIGHT}", "import math\n" + RIGHT],
    ids=["plain", "fenced", "open fence", "imports"],
)
def test_a_program_that_meets_its_tests_passes(answer):
    assert passes(answer, TESTS) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "def twice(x):\n    return 3 * x",
        "def twice(x:\n    return 2 * x",
        "",
        "raise SystemExit(0)",
        "import os\nos._exit(0)",
        "print('done')\nquit()",
    ],
    ids=["wrong", "no Python", "nothing", "leaves", "leaves at once", "quits"],
)
def test_a_program_that_does_not_come_through_its_tests_fails(answer):
    assert passes(answer, TESTS) == 0.0


def test_an_answer_goes_on_from_the_prompt_with_its_indentation():
    program = "def twice(x):\n    '''Doubles.'''\n{answer}\nassert twice(4) == 8"
    assert passes("    return 2 * x\n", program) == 1.0


def test_a_program_without_an_end_is_stopped(monkeypatch):
    monkeypatch.setattr(code_runs, "SECONDS", 1)
    start = time.monotonic()
    assert passes("while True:\n    pass", TESTS) == 0.0
    assert passes("import time\ntime.sleep(1000)", "{answer}") == 0.0
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    "does",
    [
        "open({path!r}, 'w').write('x')",
        "import os; os.remove({path!r})",
        "import os; os.rename({path!r}, 'mine')",
        "import pathlib; pathlib.Path({path!r}).write_text('x')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import os; os.fork()",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
    ],
)
def test_a_program_may_not_leave_its_folder(tmp_path, does):
    path = tmp_path / "kept.txt"
    path.write_text("kept")
    line = does.format(path=str(path))
    refused = f"try:\n    {line}\nexcept PermissionError:\n    pass\nelse:\n    raise AssertionError"
    assert passes(refused, "{answer}") == 1.0
    assert path.read_text() == "kept"


def test_a_program_may_write_files_of_its_own():
    assert passes("open('a.txt', 'w').write('x')\nassert open('a.txt').read() == 'x'", "{answer}") == 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_a_program_that_takes_all_memory_fails():
    assert passes("x = bytearray(8 * 2**30)", "{answer}") == 0.0


def test_secrets_of_the_environment_are_not_passed_on(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "HF_TOKEN" in os.environ
    assert passes("import os\nassert 'HF_TOKEN' not in os.environ", "{answer}") == 1.0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"metric": "code", "program": "{answer}\n{test}"}, "run_code: true"),
        ({"metric": "code", "run_code": True}, "needs 'program'"),
        ({"metric": "code", "run_code": True, "program": "{test}"}, "stands nowhere"),
        ({"metric": "code", "run_code": True, "program": "{answer}", "also": ["token_f1"]}, "goes with no other"),
        ({"program": "{answer}"}, "only used with it"),
    ],
)
def test_code_is_run_only_where_it_is_asked_for(options, problem):
    with pytest.raises(SpecError, match=problem):
        options_of(TaskSpec(name="own-data", options={"train": "a.jsonl", "prompt": "{q}", "target": "a", **options}))
