"""Makes the table of the public benchmark's results that comes with peftscope.

    python scripts/published_results.py DATA    DATA holds published/ and published-2026-08-21/ of the benchmark

Of a document stays what records, figures and exports are made of, and the course of the training. The same documents
give the same file to the last byte.
"""

from __future__ import annotations

import copy
import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from peftscope.methods.adapter_config import method_name
from peftscope.schema.base import content_hash
from peftscope.upstream.published import TABLE_FILE
from peftscope.upstream.results_in import LATER_SETTINGS

__all__ = ["packed", "table_of"]

SOURCE = {
    "name": "the public benchmark of the PEFT library",
    "license": "Apache-2.0",
    "address": "https://github.com/huggingface/peft, folder method_comparison",
}
FOLDERS = {"2026-06-18": "published", "2026-08-21": "published-2026-08-21"}
TASKS = {"text": "MetaMathQA", "images": "image-gen"}
TITLES = {"text": "Text: word problems", "images": "Images: one subject from a few photographs"}
ABOUT = {
    "text": (
        "Llama-3.2-3B learns to solve word problems from MetaMathQA (20,000 examples, 5,000 steps of 4) and is scored "
        "on the 1,319 problems of GSM8K's test split."
    ),
    "images": (
        "FLUX.2-klein-base-4B learns to draw one cat from a few photographs and is scored by how much its pictures of "
        "test prompts resemble the photographs (cosine of DINOv2 embeddings)."
    ),
}
WORD = {
    ("text", "2026-06-18"): ["The benchmark's article shows these figures."],
    ("text", "2026-08-21"): [
        "The measurement of forgetting was repaired in between: it compared outputs with the token they stand on "
        "instead of the next one, and its baseline had the untrained adapter in it."
    ],
    ("images", "2026-06-18"): ["The benchmark's article shows these figures."],
}
"""What the documents do not tell."""

UNREAD_META = ("pytorch_info",)
UNREAD_SYSTEM = ("version",)
UNREAD_POINT = ("tokens / sec", "mem reserved avg", "elapsed time")
"""Bulk that neither records nor figures are made of."""


@dataclass(frozen=True)
class Found:
    """One release of one task, by the names of its files."""

    task: str
    date: str
    documents: Mapping[str, dict[str, Any]]


def table_of(data: Path) -> dict[str, Any]:
    """The table.

    Args:
        data: Folder of the releases' folders.
    """
    results: dict[str, dict[str, Any]] = {}
    releases = []
    for task, folder in TASKS.items():
        before: Found | None = None
        for day, place in FOLDERS.items():
            paths = sorted((data / place / folder).glob("*.json"))
            found = Found(task, day, {path.stem: json.loads(path.read_text("utf-8")) for path in paths})
            names = []
            for document in found.documents.values():
                kept = slim(document)
                info = document["run_info"]
                names.append(content_hash(kept))
                results[names[-1]] = {
                    "method": method_name(info.get("peft_config"), info["train_config"]),
                    "document": kept,
                }
            releases.append(
                {
                    "task": task,
                    "date": day,
                    "task_title": TITLES[task],
                    "released": in_words(day),
                    "about": ABOUT[task],
                    "lines": [*facts(found), *changes(found, before), *WORD.get((task, day), [])],
                    "results": names,
                }
            )
            before = found
    left_out = f"{', '.join((*UNREAD_META, *UNREAD_SYSTEM))} and, of a curve's points, {', '.join(UNREAD_POINT)}"
    lines = [f"Documents in the benchmark's own layout, without what peftscope does not read: {left_out}."]
    return {"source": {**SOURCE, "lines": lines}, "releases": releases, "results": results}


def packed(table: Mapping[str, Any]) -> bytes:
    """The table as its file holds it."""
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def slim(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document without what nothing reads."""
    kept = copy.deepcopy(dict(document))
    for name in UNREAD_META:
        kept["meta_info"].pop(name, None)
    for name in UNREAD_SYSTEM:
        kept["meta_info"]["system_info"].pop(name, None)
    for point in kept["train_info"]["metrics"]:
        for name in UNREAD_POINT:
            point.pop(name, None)
    return kept


def facts(found: Found) -> list[str]:
    """How many runs, when, where, with which libraries."""
    documents = list(found.documents.values())
    days = sorted(document["run_info"]["created_at"][:10] for document in documents)
    machines = sorted({document["meta_info"]["system_info"]["accelerator"] for document in documents})
    packages = [document["meta_info"]["package_info"] for document in documents]
    libraries = [
        f"{name} {_either(versions)}"
        for name in ("peft", "transformers", "diffusers", "torch")
        if (versions := sorted({p[f"{name}-version"] for p in packages if p.get(f"{name}-version")}))
    ]
    first, last = in_words(days[0]), in_words(days[-1])
    when = f"on {first}" if first == last else f"from {first} to {last}"
    seeds = {document["run_info"]["train_config"]["seed"] for document in documents}
    assert seeds == {0}, seeds
    return [
        f"{len(documents)} experiments, each trained once, with seed 0, {when} on one {' or '.join(machines)}, with "
        f"{'; '.join(libraries)}."
    ]


def changes(found: Found, before: Found | None) -> list[str]:
    """What is new, gone and run again since the release before."""
    if before is None:
        return []
    both = [name for name in found.documents if name in before.documents]
    pairs = [(before.documents[name], found.documents[name]) for name in both]
    equal = sum(first == second for first, second in pairs)
    again = [pair for pair in pairs if pair[0]["run_info"]["created_at"] != pair[1]["run_info"]["created_at"]]
    assert equal + len(again) == len(both)
    lines = []
    if again:
        assert all(_settings(first) == _settings(second) for first, second in again)
        lines.append(
            f"{len(again)} of them are experiments of {in_words(before.date)}, run again with the same settings and "
            "newer libraries."
        )
    if equal:
        lines.append(
            f"{equal} of them are the runs of {in_words(before.date)}, unchanged to the last digit: nothing was run "
            "again."
        )
    for word, there, other in (("New", found, before), ("Gone", before, found)):
        names = [
            document["run_info"]["experiment_name"]
            for name, document in there.documents.items()
            if name not in other.documents
        ]
        lines += [f"{word} since then: {', '.join(names)}."] if names else []
    return lines


def _either(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    model = document["meta_info"]["model_info"]
    return {**LATER_SETTINGS, **document["run_info"]["train_config"], "model": model}


def in_words(day: str) -> str:
    """A date as people write it."""
    found = date.fromisoformat(day)
    return f"{found.day} {found:%B %Y}"


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    content = packed(table_of(Path(arguments[0])))
    TABLE_FILE.write_bytes(content)
    print(f"wrote {TABLE_FILE.name}, {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
