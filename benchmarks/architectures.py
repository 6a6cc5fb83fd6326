"""What becomes of eleven methods on twenty-one architectures, each a random model of a hundred thousand weights.

    python benchmarks/architectures.py [NAME ...]     writes architectures.md beside this file; ten minutes on two cores

Every run goes through ``compare``: prediction, training of three steps, answers, record. A run ends ``ok``, or
``refused`` with a reason that says what to do; anything else is a defect. With names only those are run, and printed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from tiny_architectures import ARCHITECTURES, save_tiny

import peftscope
from peftscope.store.files import read_records

HERE = Path(__file__).resolve().parent
METHODS = (
    "lora",
    "rslora",
    "dora",
    "adalora",
    "oft",
    "vera",
    "ia3",
    "loha",
    "lokr",
    "ln-tuning",
    "prefix-tuning",
)


def rows_file(folder: Path) -> Path:
    """Forty short tickets."""
    path = folder / "tickets.jsonl"
    teams = ("billing", "post", "hardware")
    rows = [{"text": f"ticket {i} is about {teams[i % 3]}", "team": teams[i % 3]} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def outcomes(name: str, folder: Path) -> dict[str, str]:
    """What became of each method on an architecture: ``ok`` with the share that is adapted, or status and reason."""
    model = save_tiny(name, folder / name)
    study = peftscope.Study(
        name=name,
        model={"source": str(model), "dtype": "float32"},
        task={
            "name": "own-data",
            "train": str(rows_file(folder)),
            "prompt": "Ticket: {text}\nTeam:",
            "target": "team",
            "max_new_tokens": 3,
            "max_length": 64,
            "general_tokens": 0,
        },
        methods=list(METHODS),
        seeds=[0],
        train={"max_steps": 3, "batch_size": 4},
        measure={"latency": False, "metered_steps": 0},
        out=str(folder / f"{name}-results"),
    )
    try:
        study.run(quiet=True)
    except peftscope.PeftscopeError as error:
        return dict.fromkeys(METHODS, f"refused for all: {' '.join(str(error).split())}".replace(str(model), name))
    found = {}
    for record in read_records(folder / f"{name}-results"):
        title = record.spec.method.title
        if title in METHODS:
            share = getattr(record.method_facts, "adapted_share", None)
            shown = "" if share is None else f" {100 * share:.0f} %"
            found[title] = f"ok{shown}" if record.status == "ok" else f"{record.status}: {record.reason}"
    return found


def main(names: list[str]) -> None:
    """Run them and write, or print, the table."""
    lines: list[str] = []
    reasons: list[str] = []
    counts: Counter[str] = Counter()
    for name in names or ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            found = outcomes(name, Path(folder))
        counts.update(found[method].split(":")[0].split()[0] for method in METHODS)
        cells = [found[method].split(":")[0] for method in METHODS]
        lines.append(f"| {name} | {ARCHITECTURES[name][0]} | {' | '.join(cells)} |")
        for reason in dict.fromkeys(found[m].partition(":")[2].strip() for m in METHODS if ":" in found[m]):
            who = ", ".join(m for m in METHODS if reason and reason in found[m])
            reasons.append(f"- {name}: {who}: {reason}")
        print(lines[-1], *[r for r in reasons if r.startswith(f"- {name}:")], sep="\n", flush=True)
    if names:
        return
    head = f"| architecture | kind | {' | '.join(METHODS)} |\n|{' --- |' * (len(METHODS) + 2)}"
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    text = f"""# Eleven methods on twenty-one architectures

Written by `benchmarks/architectures.py` (peft {version("peft")}, transformers {version("transformers")}). {told}.
A share is that of the base's weights in the modules a method adapts.

{head}
{chr(10).join(lines)}

## Reasons

{chr(10).join(reasons)}
"""
    (HERE / "architectures.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
