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
    lines = [
        "Written by `python benchmarks/demo_rates.py`: validation scores on 100 problems, one seed.",
        "",
        "| method | learning rate | status | validation accuracy | training loss at the end | training time |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for run in runs:
        found = run["metrics"]
        lines.append(
            f"| {run['spec']['method']['name']} | {run['spec']['learning_rate']:g} | {run['status']} "
            f"| {found['valid_score']:.3f} | {found['train_loss']:.3f} | {found['train_time_s']:.0f} s |"
        )
    (HERE / "demo_rates.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
