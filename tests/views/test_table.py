"""Tables fit a terminal and hide no failure."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from peftscope.schema.metric import MetricSpec
from peftscope.study.metrics import known_metrics
from peftscope.views.fitted_table import FittedTable
from peftscope.views.table import TextTable, failure_lines, markdown_table, quality_and_cost

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
        Console(file=stream, width=80).print(FittedTable(table))
        assert "…" not in stream.getvalue()
        assert all(cell in stream.getvalue() for cell in table.cells[0])


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_no_name_and_no_figure_is_cut_at_any_width(width: int) -> None:
    names = ["prefix-tuning-projected-with-a-long-label", "q" * 90, "lora"]
    figures = ["1e-04", "40.0 [31.0, 50.0]", "+12.0 [3.0, 20.0]", "1.25 GB", "118 MB", "0.123"]
    cells = [[name, *figures, "no; with batch 2 or checkpointing or nf4"] for name in names]
    headings = ("method", "lr", "accuracy % [95 %]", "gain over base", "memory", "file", "drift", "fits")
    table = TextTable(title="", headings=headings, cells=cells, sentences=("fits",))
    stream = io.StringIO()
    Console(file=stream, width=width).print(FittedTable(table))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for figure in (*headings, *figures, "lora"):
        assert figure in text
    assert text.count("q") == 90 * text.count("lora")
    assert all(word in text for word in ["no;", "with", "batch", "2", "or", "checkpointing"])


def test_control_characters_of_a_label_reach_neither_terminal_nor_file() -> None:
    table = TextTable(title="", headings=("method", "score"), cells=[["\x1b]0;title\x07\x1b[31mred", "1.0"]])
    stream = io.StringIO()
    Console(file=stream, width=80).print(FittedTable(table))
    assert all(c.isprintable() or c == "\n" for c in stream.getvalue())
    assert all(c.isprintable() or c == "\n" for c in markdown_table(table))


def test_a_failed_run_is_reported_with_its_reason() -> None:
    assert failure_lines([GOOD, BAD]) == ["xlora: refused: needs trained adapters"]


def test_a_markdown_table_contains_the_same_cells() -> None:
    table = quality_and_cost([GOOD], ACCURACY, known_metrics())[0]
    assert markdown_table(table).splitlines()[2] == "| " + " | ".join(table.cells[0]) + " |"
    assert "48.0 [41.0, 55.0]" in table.cells[0]
