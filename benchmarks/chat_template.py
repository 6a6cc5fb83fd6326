"""An instruct model trained through its chat template and off it, on one short task, tuned alike.

    python benchmarks/chat_template.py          writes chat_template.md beside this file; half an hour on two cores

The task was chosen before anything was run: sums and differences of two numbers up to 99, of which the untrained model
answers some. Both ways get LoRA, the same rows, steps and rates to choose from on validation, and five
seeds; differences are taken by test example and seed, as a study's verdict takes them.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import peftscope
from peftscope.views.report.quantities import difference_text

HERE = Path(__file__).resolve().parent
WAYS = {"through its template": "auto", "off its template": "none"}
SEEDS = [0, 1, 2, 3, 4]


def study(way: str, setting: str, out: Path) -> peftscope.Study:
    """The study of one way of prompting."""
    task: dict[str, Any] = {
        "name": "math",
        "source": "procedural",
        "dataset": "basic_arithmetic",
        "dataset_options": {
            "min_terms": 2,
            "max_terms": 2,
            "min_digits": 1,
            "max_digits": 2,
            "operators": ["+", "-"],
            "allow_parentheses": False,
            "allow_negation": False,
        },
        "query_template": "{query}\nAnswer:",
        "train_size": 1000,
        "valid_size": 50,
        "test_size": 200,
        "max_new_tokens": 8,
        "answer": "first",
        "max_length": 96,
        "general_tokens": 0,
        "chat_template": setting,
    }
    return peftscope.Study(
        name=way.replace(" ", "-"),
        model="builtin:smollm2-135m",
        task=task,
        methods=[{"name": "lora", "label": way}],
        tuning={"trials": 3},
        seeds=SEEDS,
        train={"max_steps": 32, "batch_size": 8},
        measure={"latency": False, "metered_steps": 0, "keep_outputs": 4},
        out=out / way.replace(" ", "-"),
    )


def main() -> None:
    """Run both, set them against each other, write the table."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    both = out / "both" / "records"
    both.mkdir(parents=True, exist_ok=True)
    for way, setting in WAYS.items():
        done = study(way, setting, out)
        done.run()
        for record in (done.folder / "records").glob("*.json"):
            text = record.read_text(encoding="utf-8")
            if '"name": "base"' not in text:  # the base is another one for each way, and is told apart
                shutil.copy(record, both / record.name)
    found = peftscope.Study.find(both.parent).results(across=True)
    first, second = WAYS
    pair = found.verdict.pair(first, second)
    assert pair is not None
    sign = 1.0 if pair.first == first else -1.0
    lines = [
        "SmolLM2-135M-Instruct on sums of two numbers up to 99, LoRA, 32 steps of 8, the best of three rates, "
        f"{len(SEEDS)} seeds, 200 test examples. Written by `python benchmarks/chat_template.py`: torch "
        f"{version('torch')}, transformers {version('transformers')}.",
        "",
        "| trained and scored | exact % [95 %] | learning rate | base alone % |",
        "| --- | ---: | ---: | ---: |",
    ]
    for way in WAYS:
        candidate = found.verdict.candidate(way)
        assert candidate.score is not None
        low, high = candidate.score.interval or (float("nan"), float("nan"))
        base = peftscope.Study.find(out / way.replace(" ", "-")).results().verdict.candidate("base").score
        assert base is not None
        lines.append(
            f"| {way} | {100 * candidate.score.value:.1f} [{100 * low:.1f}, {100 * high:.1f}] | "
            f"{candidate.learning_rate:g} | {100 * base.value:.1f} |"
        )
    where = "more" if sign * pair.difference.value >= 0 else "less"
    lines += [
        "",
        f"{pair.first} over {pair.second}: {difference_text(found.metric, pair.difference)} "
        f"({pair.verdict}): the template gives {where} here.",
    ]
    (HERE / "chat_template.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
