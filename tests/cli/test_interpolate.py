"""The command's words, its document and its exit codes; what it does lies in ``tests/study/test_interpolation.py``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from peftscope.execution.execute import execute
from peftscope.schema.run import RunSpec
from peftscope.store.files import write_record

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., RunSpec]) -> Path:
    """A study of which one method was trained."""
    folder = tmp_path_factory.mktemp("study")
    for name, rate in (("base", None), ("lora", 1e-2)):
        record = execute(make_run(name, rate=rate), folder)
        assert record.status == "ok", record.reason
        write_record(folder, record)
    return folder


@pytest.fixture
def columns() -> int:
    """Width of the terminal."""
    return 80


def test_the_curve_is_printed_and_its_document_is_one_json(call: Call, folder: Path) -> None:
    code, out, err = call("interpolate", str(folder), "--method", "lora", "--strengths", "0.5", "--quiet")
    assert code == 0, err
    assert "lora between base (0) and adapter (1), 1 seed" in out
    assert "is not detectable, so that a share of it means nothing" in " ".join(out.split())
    assert "gain kept" not in out
    assert "as their records have them, to the last digit" in " ".join(out.split())
    code, out, _ = call("interpolate", str(folder), "--method", "lora", "--strengths", "0.5", "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, "peftscope.interpolate/1")
    assert document["gain_detectable"] is False
    assert document["strength"] is None
    assert document["num_measured"] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--strengths", "2"), "--strengths: 2: must be from 0 (the base) to 1 (the adapter)"),
        (("--strengths", "a"), "--strengths: 'a' is not what is wanted here"),
        (("--keep", "0"), "--keep: 0: must be a share above 0 %"),
        (("--method", "lra"), "--method: unknown method 'lra'; did you mean 'lora'?"),
        ((), "--method: nothing that is trained is recommended; name one of lora"),
    ],
)
def test_wrong_requests_end_with_code_2_and_say_what_is_allowed(
    call: Call, folder: Path, words: tuple[str, ...], told: str
) -> None:
    code, out, err = call("interpolate", str(folder), *words)
    assert (code, out) == (2, "")
    assert told in " ".join(err.split())


def test_an_interruption_ends_with_code_130_and_says_how_to_go_on(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("peftscope.study.interpolation.interpolate", interrupted)
    code, _, err = call("interpolate", str(folder), "--method", "lora")
    assert code == 130
    assert "the same command goes on where this one stopped" in err


@pytest.mark.parametrize("given", ["95", "1.5", "0%", "abc"])
def test_recommend_refuses_a_share_of_the_base_that_is_none(call: Call, folder: Path, given: str) -> None:
    code, _, err = call("recommend", str(folder), "--keep-of-base", given)
    assert code == 2
    assert "--keep-of-base:" in err
    assert "such as" in err
