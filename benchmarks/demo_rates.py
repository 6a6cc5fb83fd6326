"""Choose the demo's learning rates by validation; writes ``demo_rates.md`` beside this file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the study and write its validation scores as a table."""
    command = [sys.executable, "-m", "peftscope", "compare", str(HERE / "demo_rates.yaml"), "--json"]
    done = subprocess.run([*command, "--out", "results/demo-rates"], stdout=subprocess.PIPE, text=True, check=False)
    runs = json.loads(done.stdout)["runs"]
    tried: dict[str, list[tuple[float, float, float]]] = {}
    for run in runs:
        assert run["status"] == "ok", run["reason"]
        found = run["metrics"]
        row = (run["spec"]["learning_rate"], found["valid_score"], found["train_loss"])
        tried.setdefault(run["spec"]["method"]["name"], []).append(row)
    lines = [
        "Written by `python benchmarks/demo_rates.py`: validation accuracy on 100 problems, one seed, so a difference",
        "of a few points is no more than chance. The best of each technique is what the demo takes.",
        "",
        "| method | learning rate | validation accuracy | final training loss | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for method, rows in tried.items():
        best = max(rows, key=lambda row: row[1])
        on_edge = best[0] in (min(rows)[0], max(rows)[0])
        for rate, score, loss in sorted(rows):
            mark = ("best, on the edge of what was tried" if on_edge else "best") if rate == best[0] else ""
            lines.append(f"| {method} | {rate:g} | {score:.2f} | {loss:.3f} | {mark} |")
    (HERE / "demo_rates.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
