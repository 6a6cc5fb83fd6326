"""Well-known models whose plans come with peftscope, so that a page shows them without counting."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import peftscope
from peftscope.errors import SpecError, brief, unknown_name
from peftscope.footprint.footprint import DEFAULT_LENGTH
from peftscope.footprint.gpus import GPUS, card_label, memory_of
from peftscope.study.footprint_queries import DEFAULT_BATCH

__all__ = ["PLANNED", "plan_models_document", "planned_config", "planned_document"]

PLANNED = Path(peftscope.__file__).parent / "footprint" / "planned.json.gz"
"""Written by ``scripts/planned_models.py``."""
DTYPE = "bfloat16"
LIVE_ONLY = (
    "These are tables that come with peftscope. For another model, batch, length or precision start the page with "
    "'peftscope explore', or ask 'peftscope plan --model ID'."
)


def plan_models_document() -> dict[str, Any]:
    """The models there are tables of, and the cards they can be held against."""
    gpus = [{"name": name, "label": card_label(name), "bytes": int(memory_of(name))} for name in GPUS]
    return {
        "models": [{name: each[name] for name in ("key", "title", "source", "about")} for each in _plans()["models"]],
        "gpus": sorted(gpus, key=lambda gpu: (gpu["bytes"], gpu["label"])),
        "defaults": {"batch_size": DEFAULT_BATCH, "seq_len": DEFAULT_LENGTH, "dtype": DTYPE},
        "live_only": LIVE_ONLY,
    }


def planned_document(key: str) -> dict[str, Any]:
    """The plan of a model by its key.

    Raises:
        SpecError: There is none.
    """
    plans = {each["key"]: each for each in _plans()["models"]}
    if key not in plans:
        raise SpecError(brief(key, 60), [unknown_name("planned model", key, plans)])
    return {name: value for name, value in plans[key].items() if name != "config"}


def planned_config(source: str) -> dict[str, Any] | str | None:
    """The config of a model there is a table of, or what it is built in as; None of any other.

    Args:
        source: Its name on the hub.
    """
    found: dict[str, Any] | str | None = next(
        (each["config"] for each in _plans()["models"] if each["source"] == source), None
    )
    return found


@lru_cache
def _plans() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(PLANNED.read_bytes()))
    return found
