"""The demo's table as Markdown, from the records ``make demo`` left; writes ``demo_table.md`` beside this file."""

from __future__ import annotations

from pathlib import Path

from peftscope.analysis.summary import summarise
from peftscope.methods.catalog import BASE
from peftscope.spec.metric import MetricSpec
from peftscope.store.files import read_records
from peftscope.store.frame import examples_of, frame_of
from peftscope.views.table import markdown_table, quality_and_cost

HERE = Path(__file__).resolve().parent
ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="the test split")


def main() -> None:
    """Write the table."""
    records = read_records(HERE.parent / "results" / "demo")
    rows = summarise(frame_of(records), examples_of(records), base=BASE)
    machine = records[0].attempts[-1].environment
    total = sum(record.metrics["total_time_s"] or 0 for record in records)
    packages = machine["packages"]
    note = (
        f"Written by `python benchmarks/demo_table.py` after `make demo`: {machine['num_cores']} cores "
        f"({machine['cpu']}), no accelerator, torch {packages['torch']}, peft {packages['peft']}; "
        f"{len(records)} runs, {total / 60:.1f} minutes in them."
    )
    tables = "\n\n".join(markdown_table(table) for table in quality_and_cost(rows, ACCURACY))
    (HERE / "demo_table.md").write_text(f"{note}\n\n{tables}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
