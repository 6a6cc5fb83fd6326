"""What the README shows is what came out."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_readmes_tables_are_the_committed_output_of_the_demo() -> None:
    tables = (ROOT / "benchmarks" / "demo_table.md").read_text(encoding="utf-8").split("\n\n", 1)[1].strip()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert tables in readme
