"""Plans of well-known models that come with the package: every trainable method, with what would make it smaller.

    python scripts/planned_models.py [--workers N] [KEY ...]

Writes ``src/peftscope/footprint/planned.json.gz``; with keys only those models are counted again. Three to four minutes
a model on two cores. The settings are those of the models' public config.json files.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from peftscope.execution.executors.forking import warm_up
from peftscope.footprint.forecast import forecasts_as_counted
from peftscope.methods.catalog import BASE, cards
from peftscope.study.footprint_queries import Circumstances, about_methods
from peftscope.study.plan_document import plan_head, plan_notes, plan_row, row_order
from peftscope.study.planned import PLANNED

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from public_configs import CONFIGS  # noqa: E402  lies beside the benchmarks

PACKAGES = ("peftscope", "peft", "transformers", "torch")


@dataclass(frozen=True, kw_only=True)
class Known:
    """A model, and where its settings are written out."""

    title: str
    source: str
    """Its name on the hub."""
    config: str
    """A built-in model, a file in ``tests/configs``, or a name in ``benchmarks/public_configs.py``."""


MODELS = {
    "llama-3.2-3b": Known(title="Llama-3.2-3B", source="meta-llama/Llama-3.2-3B", config="llama-3.2-3b.json"),
    "smollm2-135m": Known(
        title="SmolLM2-135M", source="HuggingFaceTB/SmolLM2-135M-Instruct", config="builtin:smollm2-135m"
    ),
    "llama-3.2-1b": Known(title="Llama-3.2-1B", source="meta-llama/Llama-3.2-1B", config="Llama-3.2-1B"),
    "qwen3-4b": Known(title="Qwen3-4B", source="Qwen/Qwen3-4B", config="Qwen3-4B"),
    "flux.2-klein-base-4b": Known(
        title="FLUX.2-klein-base-4B (images)",
        source="black-forest-labs/FLUX.2-klein-base-4B",
        config="flux2-klein-base-4b.json",
    ),
    "llama-3.1-8b": Known(title="Llama-3.1-8B", source="meta-llama/Llama-3.1-8B", config="Llama-3.1-8B"),
    "llama-3.1-70b": Known(title="Llama-3.1-70B", source="meta-llama/Llama-3.1-70B", config="Llama-3.1-70B"),
}
"""By key: that of the published text results, which is shown first, then by size."""


def settings(known: Known) -> dict[str, Any] | str:
    """A model's config, or the name of a built-in one."""
    if known.config.startswith("builtin:"):
        return known.config
    if known.config.endswith(".json"):
        path = ROOT / "tests" / "configs" / known.config
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    return dict(CONFIGS[known.config][1])


def written(known: Known, folder: Path) -> str:
    """A source that planning reads, of a model's settings."""
    config = settings(known)
    if isinstance(config, str):
        return config
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return str(path)


def planned(key: str, *, workers: int) -> dict[str, Any]:
    """The plan of a model."""
    known = MODELS[key]
    names = [card.name for card in cards().values() if card.name != BASE and card.refused is None]
    with tempfile.TemporaryDirectory() as folder:
        queries = about_methods(names, Circumstances(model=written(known, Path(folder))))
    counted = forecasts_as_counted(queries, workers=workers, context=warm_up(), alternatives="all")
    rows = [plan_row(forecast) for _, forecast in counted]
    head = plan_head(queries[0], title=known.title, source=known.source, notes=plan_notes(queries[0]))
    return {"key": key, **head, "about": head["lines"][0], "rows": sorted(rows, key=row_order)}


def write(plans: dict[str, dict[str, Any]]) -> None:
    """Write plans with the configs they are of, so that the page can count them under other circumstances."""
    made = {name: version(name) for name in PACKAGES}
    ordered = [{**plans[key], "config": settings(known)} for key, known in MODELS.items() if key in plans]
    text = json.dumps({"made": made, "models": ordered}, ensure_ascii=False, separators=(",", ":"))
    PLANNED.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    """Count what is asked for and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("keys", nargs="*", metavar="KEY")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    known = json.loads(gzip.decompress(PLANNED.read_bytes()))["models"] if PLANNED.is_file() else []
    plans = {each["key"]: each for each in known}
    for key in asked.keys or MODELS:
        started = time.perf_counter()
        plans[key] = planned(key, workers=asked.workers)
        with_figures = sum(row["peak"] is not None for row in plans[key]["rows"])
        print(f"{key}: {with_figures} methods, {time.perf_counter() - started:.0f} s", flush=True)
        write(plans)
    print(f"{PLANNED.name}: {PLANNED.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
