"""Tables fit a terminal and hide no failure."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from peftscope.schema.metric import MetricSpec
from peftscope.study.metrics import known_metrics
from peftscope.views.table import failure_lines, markdown_table, quality_and_cost, terminal_table

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="test")
GOOD: dict[str, Any] = {
    "method": "prefix-tuning", "learning_rate": 1e-4, "is_base": False, "failures": [],
    "score": 0.48, "score_interval": [0.41, 0.55], "gain": 0.44, "gain_interval": [0.36, 0.52],
    "forgetting": 0.1, "drift": 0.05, "num_trainable_params": 9_700_000.0, "checkpoint_bytes": 3.9e7,
    "quality_protocol": "q1",
    "costs": [{
        "cost_protocol": "c1", "num_runs": 1, "peak_train_memory_bytes": 8.7e8, "peak_eval_memory_bytes": 6e8,
        "train_time_s": 61.0, "decode_latency_adapter_b1_s": 0.08, "decode_latency_merged_b1_s": None,
    }],
}  # fmt: skip
BAD = {**GOOD, "method": "xlora", "score": None, "failures": ["refused: needs trained adapters"]}


def test_tables_fit_eighty_columns_without_cutting_a_figure() -> None:
    for table in quality_and_cost([GOOD, BAD], ACCURACY, known_metrics()):
        stream = io.StringIO()
        Console(file=stream, width=80).print(terminal_table(table))
        assert "…" not in stream.getvalue()
        assert all(cell in stream.getvalue() for cell in table.cells[0])


def test_a_failed_run_is_reported_with_its_reason() -> None:
    assert failure_lines([GOOD, BAD]) == ["xlora: refused: needs trained adapters"]


def test_a_markdown_table_contains_the_same_cells() -> None:
    table = quality_and_cost([GOOD], ACCURACY, known_metrics())[0]
    assert markdown_table(table).splitlines()[2] == "| " + " | ".join(table.cells[0]) + " |"
    assert "48.0 [41.0, 55.0]" in table.cells[0]
