"""A study that takes seconds, for benchmarks of what goes on around the training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["small_study"]


def small_study(folder: Path, *, num_rows: int, task: Mapping[str, Any], **fields: Any) -> Path:
    """Write rows that are odd or even, and a study.yaml on them.

    Args:
        folder: For both.
        num_rows: Of the data.
        task: Options beside those every such study has.
        fields: Of the study.
    """
    rows = [{"text": f"count {n}", "label": "odd" if n % 2 else "even"} for n in range(num_rows)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    document = {
        "model": "builtin:nano-lm",
        "task": {
            "name": "own-data", "train": "rows.jsonl", "prompt": "{text}:", "target": "label", "max_new_tokens": 4,
            "max_length": 64, "general_tokens": 0, **task,
        },
        "train": {"max_steps": 6},
        **fields,
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
