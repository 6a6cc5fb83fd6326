"""What ``make demo`` came to, as Markdown, from the records it left; writes ``demo_table.md`` beside this file."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from peftscope.analysis.summary import summarise
from peftscope.methods.catalog import BASE
from peftscope.store.frame import examples_of, frame_of
from peftscope.study.metrics import known_metrics
from peftscope.study.results import StudyResults, results_of
from peftscope.views.table import markdown_table, quality_and_cost

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "results" / "demo"


def main() -> None:
    """Write the tables and the recommendation."""
    found = results_of(FOLDER)
    finals = [record for record in found.records if record.spec.purpose == "final"]
    rows = summarise(frame_of(finals), examples_of(finals), base=BASE, metrics=known_metrics())
    tables = "\n\n".join(markdown_table(table) for table in quality_and_cost(rows, found.metric, known_metrics()))
    answer = subprocess.run(
        [sys.executable, "-m", "peftscope", "recommend", str(FOLDER)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    told = "\n".join(line.rstrip() for line in answer.stdout.strip().splitlines())
    text = f"{_note(found)}\n\n{tables}\n\n```text\n{told}\n```\n"
    (HERE / "demo_table.md").write_text(text, encoding="utf-8")


def _note(found: StudyResults) -> str:
    attempts = [attempt for record in found.records for attempt in record.attempts]
    environment = attempts[-1].environment
    packages = environment["packages"]
    first = min(datetime.fromisoformat(attempt.started_at) for attempt in attempts)
    last = max(datetime.fromisoformat(attempt.ended_at) for attempt in attempts)
    steps = sum(tuning.num_steps for tuning in found.tunings)
    return (
        f"Written by `python benchmarks/demo_table.py` after `make demo`: {environment['num_cores']} cores "
        f"({environment['cpu']}), no accelerator, torch {packages['torch']}, peft {packages['peft']}; "
        f"{len(found.records)} runs, {steps:,} steps of tuning, {(last - first).total_seconds() / 60:.1f} minutes from "
        "the first start to the last end."
    )


if __name__ == "__main__":
    main()
