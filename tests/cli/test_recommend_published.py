"""What the public benchmark's results say, as far as single runs say anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from peftscope.study.results import results_of

Call = Callable[..., tuple[int, str, str]]

TEXT_FRONT = {
    "tinylora/llama-3.2-3B-default": (0.010, 20.13),
    "beft/llama-3.2-3B-target-v_proj": (0.329, 20.17),
    "lora/llama-3.2-3B-rank32-lorafa": (0.425, 20.21),
    "miss/llama-3.2-3B-default": (0.507, 20.28),
    "shira/llama-3.2-3B-lr_0.0003-random_seed_42": (0.528, 21.68),
    "lora/llama-3.2-3B-rank64-rslora": (0.532, 22.55),
    "lily/llama-3.2-3B-rank140-mlp-a2-b2-s8.0": (0.549, 25.62),
}
IMAGE_FRONT = ["ia3/flux2-klein-default", "oft/flux2-klein-default", "peanut/flux2-klein-default"]


@pytest.fixture
def columns() -> int:
    """Width of the terminal."""
    return 80


@pytest.fixture
def imported(call: Call, shared_data: Path) -> Callable[[str], str]:
    """Imports one of the benchmarks; gives the folder."""

    def bring(benchmark: str) -> str:
        code, _, err = call("import-results", str(shared_data / "published" / benchmark), "--out", benchmark)
        assert code == 0, err
        return benchmark

    return bring


def test_the_accuracy_memory_front_of_published_results_is_as_expected(
    call: Call, imported: Callable[[str], str]
) -> None:
    code, out, _ = call("recommend", imported("MetaMathQA"), "--across", "--json")
    document = json.loads(out)
    assert code == 0
    members = {
        m["method"]: (round(m["point"][0], 3), round(m["point"][1] / 1e9, 2)) for m in document["front"]["members"]
    }
    assert members == TEXT_FRONT
    assert list(members) == list(TEXT_FRONT)
    assert all(member["probability"] is None for member in document["front"]["members"])
    assert document["front"]["removable"] == {
        "lora/llama-3.2-3B-rank64-rslora": ["shira/llama-3.2-3B-lr_0.0003-random_seed_42"]
    }
    assert document["choice"]["method"] == "lily/llama-3.2-3B-rank140-mlp-a2-b2-s8.0"
    assert document["choice"]["single"] is True
    assert document["choice"]["score_interval"] is None
    assert document["evidence"]["standard_error"] == pytest.approx(0.0137, abs=1e-4)
    assert [tie["method"] for tie in document["tied"]] == ["lora/llama-3.2-3B-rank64-rslora"]


def test_single_runs_and_one_standard_error_effects_are_reported(call: Call, imported: Callable[[str], str]) -> None:
    out = call("recommend", imported("MetaMathQA"), "--across")[1]
    text = " ".join(out.split())
    for part in (
        *TEXT_FRONT,
        "Each is a single run",
        "One standard error of its score could remove lora/llama-3.2-3B-rank64-rslora: shira/",
        "Single run: no interval can be given",
        "52 of 52 are single runs",
        "One standard error of its score is 1.4 points",
        "is lora with one setting changed: use_rslora=True",
        "Ranked across different conditions, as asked",
        "WARNING: methods differ in more than the method",
    ):
        assert part in text, part
    assert "gralora" not in text  # 52 names would bury what matters
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80


def test_methods_are_not_ranked_across_conditions_by_default(call: Call, imported: Callable[[str], str]) -> None:
    code, out, _ = call("recommend", imported("MetaMathQA"), "--json")
    document = json.loads(out)
    assert code == 0
    assert document["choice"]["method"] == "lora/llama-3.2-3B-rank64-rslora"
    assert "15 runs under other conditions left out, 37 judged" in document["notes"][0]
    assert "lily/llama-3.2-3B-rank140-mlp-a2-b2-s8.0" not in {m["method"] for m in document["front"]["members"]}


def test_the_published_image_front_is_reproduced_without_errors(call: Call, imported: Callable[[str], str]) -> None:
    folder = imported("image-gen")
    document = json.loads(call("recommend", folder, "--across", "--json")[1])
    assert document["metric"]["name"] == "dino_similarity"
    assert [member["method"] for member in document["front"]["members"]] == IMAGE_FRONT
    assert document["front"]["removable"] == {}
    text = " ".join(call("recommend", folder, "--across")[1].split())
    assert "Each is a single run" in text
    assert "Which of them one standard error of the score could remove is not known" in text


def test_experiments_with_one_method_are_distinguishable_by_name(imported: Callable[[str], str]) -> None:
    found = results_of(Path(imported("MetaMathQA")), across=True)
    candidates = [c.method for c in found.verdict.candidates]
    assert len(candidates) == len(set(candidates)) == len(found.records) == 52
    assert {c.method for c in found.verdict.candidates if c.card == "ia3"} == {
        "ia3/llama-3.2-3B-default", "ia3/llama-3.2-3B-lr_0.001"
    }  # fmt: skip
    assert {c.num_examples for c in found.verdict.candidates} == {1319}
