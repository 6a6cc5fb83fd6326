"""A plan as it is counted: what is asked about, then a row for each method as soon as it is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peftscope.errors import ModelError, PeftscopeError, SpecError, brief
from peftscope.execution.executors.forking import warm_up
from peftscope.footprint.forecast import forecasts_as_counted
from peftscope.models.builtin import PREFIX, find_builtin
from peftscope.models.source import fetch_configs
from peftscope.schema.request import Request
from peftscope.study.footprint_queries import about_methods
from peftscope.study.footprints import FootprintRequest
from peftscope.study.plan_document import plan_head, plan_notes, plan_row
from peftscope.study.plan_request import PlanRequest
from peftscope.study.planned import planned_config

__all__ = ["plan_lines", "sentence"]

CONFIG = "config.json"
LONGEST_SENTENCE, LONGEST_NAME = 1_000, 80


def plan_lines(asked: PlanRequest, folder: Path, *, workers: int = 1) -> Iterator[dict[str, Any]]:
    """``{about}``, a ``{row}`` for each method in the order they are counted, and ``{done}``.

    Args:
        asked: What is asked.
        folder: An empty one that is this process' working folder: a config that was sent is written there, and a
            model's name can be taken for no other file.
        workers: Processes that count.

    Raises:
        SpecError: It cannot be read.
        ModelError: There is no such model, or it is none we can predict.
    """
    title, source = _named(asked)
    request = FootprintRequest(
        model=_found(asked, folder),
        methods=asked.methods,
        batch_size=asked.batch_size,
        seq_len=asked.seq_len,
        dtype=asked.dtype,
        quantization=asked.quantization,
        checkpointing=asked.checkpointing,
        max_memory=asked.memory,
    )
    names, given, limit = request.read(Request("plan"))
    queries = about_methods(names, given)
    notes = plan_notes(queries[0], asked.memory)
    yield {"about": {**plan_head(queries[0], title=title, source=source, notes=notes), "total": len(queries)}}
    context = warm_up() if workers > 1 else None
    counted = forecasts_as_counted(queries, limit=limit, workers=workers, context=context, alternatives="all")
    for _, forecast in counted:
        yield {"row": plan_row(forecast)}
    yield {"done": True}


def sentence(error: PeftscopeError, asked: PlanRequest) -> str:
    """What a page shows of an error: a config that was sent is called what its file is called there."""
    text = "; ".join(error.problems) if isinstance(error, SpecError) else str(error).removeprefix("model.source: ")
    return brief(text.replace(repr(CONFIG), repr(_called(asked))), LONGEST_SENTENCE)


def _called(asked: PlanRequest) -> str:
    return brief(asked.config_name or CONFIG, LONGEST_NAME)


def _named(asked: PlanRequest) -> tuple[str, str]:
    """Title and source."""
    if asked.config is not None:
        kind = asked.config.get("model_type") or asked.config.get("_class_name")
        return (kind[:60] if isinstance(kind, str) and kind else "a model"), f"an uploaded {_called(asked)}"
    model = asked.model or ""
    if model.startswith(PREFIX):
        return find_builtin(model).about.partition(":")[0], model
    return model.rpartition("/")[2], model


def _found(asked: PlanRequest, folder: Path) -> str:
    """The model as planning takes it.

    Raises:
        ModelError: The hub has none of that name, or what was sent is not the config of a model.
    """
    config = asked.config
    if config is None:
        known = planned_config(asked.model or "")
        model = known if isinstance(known, str) else asked.model or ""
        if not isinstance(known, dict):
            if not model.startswith(PREFIX):
                fetch_configs(model, None, others=False)
            return model
        config = known  # of a model that the hub gives to some alone
    _refuse_pipeline(config.get("_class_name"))
    own = {name: value for name, value in config.items() if name not in ("_name_or_path", "name_or_path")}
    (folder / CONFIG).write_text(json.dumps(own), encoding="utf-8")
    return CONFIG


def _refuse_pipeline(class_name: Any) -> None:
    if isinstance(class_name, str) and class_name.endswith("Pipeline"):
        raise ModelError(
            f"this is the model_index.json of a pipeline ({class_name[:60]}); give its transformer's config.json, from "
            "the folder transformer"
        )
