"""The fronts of the published releases, and what runs that were repeated say: from the table that ships."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peftscope.study.recommendation import memory_front
from peftscope.study.releases import releases_document
from peftscope.study.repeated_runs import repeated_data, score_sd_at_half, single_run_gap
from peftscope.study.results import results_of

TEXT_FRONT = {
    "tinylora/llama-3.2-3B-default": "TinyLoRA",
    "beft/llama-3.2-3B-target-v_proj": "BEFT",
    "lora/llama-3.2-3B-rank32-lorafa": "LoRA-FA",
    "miss/llama-3.2-3B-default": "MiSS",
    "shira/llama-3.2-3B-lr_0.0003-random_seed_42": "SHiRA",
    "lora/llama-3.2-3B-rank64-rslora": "rsLoRA",
    "lily/llama-3.2-3B-rank140-mlp-a2-b2-s8.0": "Lily",
}
IMAGE_FRONT = {
    "ia3/flux2-klein-default": "(IA)³",
    "oft/flux2-klein-default": "OFT",
    "peanut/flux2-klein-default": "PEANuT",
}
JUNE, AUGUST = "2026-06-18", "2026-08-21"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEFTSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return releases_document()


@pytest.fixture(scope="module")
def text(document: dict[str, Any]) -> dict[str, Any]:
    return next(task for task in document["tasks"] if task["key"] == "text")


@pytest.fixture(scope="module")
def images(document: dict[str, Any]) -> dict[str, Any]:
    return next(task for task in document["tasks"] if task["key"] == "images")


@pytest.mark.parametrize(
    ("place", "memory", "expected"),
    [
        ("published:text-2026-06-18", "upstream_peak_reserved_bytes", TEXT_FRONT),
        ("published:images-2026-06-18", "peak_train_reserved_bytes", IMAGE_FRONT),
    ],
)
def test_the_fronts_of_the_benchmarks_article_come_out(place: str, memory: str, expected: dict[str, str]) -> None:
    """Of test score against peak memory, which the benchmark calls ``accelerator_memory_max``, over all experiments."""
    front = memory_front(results_of(Path(place), across=True))
    assert front is not None
    assert front.metrics[1].name == memory
    assert list(front.members) == list(expected)


def test_the_document_shows_the_articles_fronts_by_method(text: dict[str, Any], images: dict[str, Any]) -> None:
    for task, expected in ((text, TEXT_FRONT), (images, IMAGE_FRONT)):
        rows = {row["experiment"]: row["method"] for row in task["fronts"]["rows"] if row["in"][JUNE]}
        assert rows == expected
        for release in (JUNE, AUGUST):
            members = {point["experiment"] for point in task["fronts"]["points"][release] if point["member"]}
            assert members == {row["experiment"] for row in task["fronts"]["rows"] if row["in"][release]}


def test_who_came_to_the_later_front_and_who_went_is_said(text: dict[str, Any], images: dict[str, Any]) -> None:
    lines = " ".join(text["fronts"]["lines"])
    assert "MiSS (mini) (miss/llama-3.2-3B-mini) came" in lines
    assert (
        "LoRA-FA (lora/llama-3.2-3B-rank32-lorafa) went: 42.5 % with 20.2 GB on 18 June 2026; 40.4 % with 22.2 GB"
        in lines
    )
    assert "has the members of that of 18 June 2026" in " ".join(images["fronts"]["lines"])
    assert images["repeated"] is None
    assert "No run was repeated" in " ".join(images["about"])


def test_the_document_is_plain_and_names_the_studies(document: dict[str, Any]) -> None:
    json.dumps(document, allow_nan=False)
    studies = [release["study"] for task in document["tasks"] for release in task["releases"]]
    assert studies == [f"published-{task}-{date}" for task in ("text", "images") for date in (JUNE, AUGUST)]
    assert document["source"]["license"] == "Apache-2.0"
    for task in document["tasks"]:
        assert set(task["fronts"]["axes"]) == {"x", "y"}
        for row in task["fronts"]["rows"]:
            assert set(row["in"]) == set(row["figures"]) == {JUNE, AUGUST}


def test_repeated_runs_say_what_a_gap_is_worth(text: dict[str, Any]) -> None:
    found = {metric["name"]: metric for metric in text["repeated"]["metrics"]}
    accuracy = found["accuracy"]
    assert len(accuracy["pairs"]) == 51
    assert accuracy["sd"] == "0.92 points (95 %: 0.77 points to 1.14 points)"
    assert accuracy["gap"] == "2.6 points"
    lora = next(pair for pair in accuracy["pairs"] if pair["experiment"] == "lora/llama-3.2-3B-rank32")
    assert (lora["first"], lora["second"], lora["text"]) == (49.0523, 47.8393, "49.1 % → 47.8 %, -1.2 points")
    lines = " ".join(accuracy["lines"])
    assert "Of the 1,275 pairs of experiments of 18 June 2026, 196 lie closer" in lines
    assert "Of the 50 neighbours in the ranking of 18 June 2026, 14 changed places" in lines
    assert "+0.2 points in the 14 first run with transformers 5.5.4 and the same noted revision" in lines
    assert "-1.6 points in the 37 first run with transformers 4.57.1 and another noted revision" in lines
    assert "a standard deviation of 0.72 points, and the gap is 1.99 points" in lines
    assert "equal in 50 of 51 pairs" in " ".join(text["repeated"]["lines"])


def test_a_measurement_that_was_repaired_is_no_repetition(text: dict[str, Any]) -> None:
    forgetting = next(m for m in text["repeated"]["metrics"] if m["name"] == "upstream_forgetting")
    assert forgetting["sd"] is None
    assert forgetting["gap"] is None
    assert "repaired" in " ".join(forgetting["lines"])
    assert single_run_gap("upstream_forgetting") is None


def test_the_spread_of_single_runs_is_told_in_the_metrics_own_unit() -> None:
    sd, gap = score_sd_at_half(), single_run_gap("test_score")
    assert sd == pytest.approx(0.0108, abs=5e-4)
    assert gap == pytest.approx(0.025525, abs=1e-5)
    assert single_run_gap("train_time_s") == pytest.approx(35.2, abs=0.1)
    assert score_sd_at_half("images") is None
    assert single_run_gap("no_such_metric") is None
    assert repeated_data("images") is None
