"""The check of an accelerator: its page, its time limits, and all of it in small on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import accelerator  # noqa: E402
from accelerator_parts.page import page, verdict  # noqa: E402
from accelerator_parts.parts import PARTS  # noqa: E402
from accelerator_parts.sizes import CARD, CPU  # noqa: E402

sys.path.remove(str(BENCHMARKS))

ROW = {"run": "lora | plain", "tokens/s": 12345.6, "off": None}
PART = {"seconds": 3.0, "failure": None, "problems": [], "rows": [ROW, {"run": "ia3", "off": 1.23456}]}
CARD_SEEN = {
    "device": "Some Card 80GB",
    "kind": "cuda",
    "date": "2026-11-27",
    "seconds": 400.0,
    "packages": {"python": "3.12.3"},
    "parts": {"memory": PART, "cpu": {**PART, "failure": "RuntimeError: no", "rows": []}},
}


def test_the_page_reports_which_devices_were_not_tested() -> None:
    told = page([CARD_SEEN], {"memory": "Peaks", "cpu": "Against the CPU", "demo": "The demo"})
    assert "| part | CPU | Some Card 80GB | XPU | MPS |" in told
    assert "| Peaks | not seen | ok | not seen | not seen |" in told
    assert "| Against the CPU | not seen | failed | not seen | not seen |" in told
    assert "| The demo | not seen | not seen | not seen | not seen |" in told
    assert "| lora / plain | 12,346 | – |" in told
    assert "| ia3 | – | 1.23 |" in told
    assert "- RuntimeError: no" in told


def test_a_part_is_ok_only_without_failures_and_problems() -> None:
    assert verdict(PART) == "ok"
    assert verdict({**PART, "problems": ["a"]}) == "1 problem"
    assert verdict({**PART, "problems": ["a", "b"]}) == "2 problems"
    assert verdict({**PART, "failure": "no time"}) == "failed"
    assert verdict(None) == "not seen"


def test_a_part_that_exceeds_its_time_limit_is_stopped() -> None:
    started = time.monotonic()
    with pytest.raises(accelerator.OutOfTime), accelerator.time_limit(0.05):
        time.sleep(5)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("sizes", [CARD, CPU])
def test_every_part_has_a_time_limit_within_the_budget(sizes: object) -> None:
    limits = sizes.limits_s  # type: ignore[attr-defined]
    assert set(limits) == set(PARTS)
    assert accelerator.BUDGET_S <= 480
    assert all(limit <= accelerator.BUDGET_S for limit in limits.values())


def test_the_committed_page_matches_the_committed_results() -> None:
    paths = sorted((BENCHMARKS / "accelerator").glob("*.json"))
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    assert "cpu" in {document["kind"] for document in documents}
    titles = {name: title for name, (title, _) in PARTS.items()}
    assert (BENCHMARKS / "accelerator.md").read_text(encoding="utf-8") == page(documents, titles)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_parts_of_the_check_are_ok_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "accelerator.py"), "--device", "cpu", "--output", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (tmp_path / "accelerator").glob("*.json")
    document = json.loads(found.read_text(encoding="utf-8"))
    assert {name: verdict(part) for name, part in document["parts"].items()} == dict.fromkeys(PARTS, "ok")
    assert (tmp_path / "accelerator.md").is_file()
