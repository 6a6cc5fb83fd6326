"""What ``make demo`` came to, as Markdown, from the records it left; writes ``demo_table.md`` beside this file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import peftscope as ps
from peftscope.study.comparison import comparison_of
from peftscope.study.metrics import known_metrics
from peftscope.study.results import StudyResults
from peftscope.views.table import markdown_table, quality_and_cost

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "results" / "demo"


def main() -> None:
    """Write the tables and the recommendation."""
    study = ps.Study.load(FOLDER)
    found = study.results()
    compared = comparison_of(found.records, found.metric, folder=FOLDER, title=found.name, study=study.spec)
    tables = quality_and_cost(compared.summary, found.metric, known_metrics())
    shown = "\n\n".join(markdown_table(table) for table in tables)
    text = f"{_note(found)}\n\n{shown}\n\n```text\n{study.recommend().text()}\n```\n"
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
