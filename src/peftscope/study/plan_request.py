"""What a page asks of a plan: a model by its name or by its config, and the circumstances; no files of this machine."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from peftscope.errors import ModelError, brief, unknown_name
from peftscope.footprint.gpus import memory_of
from peftscope.schema.request import Request

__all__ = ["PlanRequest", "read_plan_request"]

NAMES = (
    "model", "config", "config_name", "batch_size", "seq_len", "dtype", "quantization", "checkpointing", "memory",
    "methods",
)  # fmt: skip
HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
FILES = (".json", ".gguf", ".safetensors", ".bin", ".pt", ".py")
MOST_BATCH, MOST_LENGTH, MOST_METHODS, LONGEST = 10_000, 1_000_000, 300, 200
UPLOAD = "files of this machine are not read from here: upload its config.json instead"


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What is asked; None takes the default."""

    model: str | None = None
    """A hub id, or ``builtin:NAME``."""
    config: Mapping[str, Any] | None = None
    """What stands in a ``config.json``; in place of ``model``."""
    config_name: str | None = None
    """What its file is called where it comes from; told, and never the name of a file here."""
    batch_size: int | None = None
    seq_len: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    checkpointing: bool | None = None
    memory: str | None = None
    """There is: an amount, or a card by its name."""
    methods: str | tuple[str, ...] | None = None
    """Names, ``all``, or None for one to a type."""

    def document(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def read_plan_request(given: Any) -> PlanRequest:
    """Read what a page has sent, types and ranges checked; names of methods and settings are checked by who counts.

    Raises:
        SpecError: With everything that is wrong.
    """
    request = Request("plan")
    if not isinstance(given, Mapping):
        request.problems.append("a mapping is wanted")
        request.end()
    if len(given) > len(NAMES):
        request.problems.append(f"{len(given):,} settings; there are {len(NAMES)}: {', '.join(NAMES)}")
        request.end()
    for name in given:
        request.check("plan", "setting", name, NAMES)
    asked = PlanRequest(
        model=_text(request, given, "model"),
        config=_config(request, given.get("config")),
        config_name=_text(request, given, "config_name"),
        batch_size=_whole(request, given, "batch_size", 1, MOST_BATCH),
        seq_len=_whole(request, given, "seq_len", 2, MOST_LENGTH),
        dtype=_text(request, given, "dtype"),
        quantization=_text(request, given, "quantization"),
        checkpointing=_either(request, given, "checkpointing"),
        memory=_text(request, given, "memory"),
        methods=_methods(request, given.get("methods")),
    )
    if (asked.model is None) == (asked.config is None) and not request.problems:
        request.problems.append("give either a model (a hub id or builtin:NAME) or its config")
    if asked.model is not None:
        _check_model(request, asked.model)
    request.amount("memory", asked.memory, memory_of)
    request.end()
    return asked


def _check_model(request: Request, name: str) -> None:
    """Note what is no name of a model; whether a file of that name exists is not looked at."""
    from peftscope.models.builtin import PREFIX, find_builtin

    if name.startswith(PREFIX):
        try:
            find_builtin(name)
        except ModelError as error:
            request.problems.append(str(error).removeprefix("model.source: "))
    elif HUB_ID.fullmatch(name) is None or ".." in name or name.lower().endswith(FILES):
        request.note("model", f"{brief(name, 80)!r} is no hub id such as meta-llama/Llama-3.2-1B; {UPLOAD}")


def _config(request: Request, given: Any) -> Mapping[str, Any] | None:
    if given is None or isinstance(given, Mapping):
        return given
    request.note("config", f"what stands in a config.json is a mapping, not a {type(given).__name__}")
    return None


def _text(request: Request, given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is None or (isinstance(value, str) and 0 < len(value) <= LONGEST):
        return value
    request.note(name, f"a text of 1 to {LONGEST} characters is wanted, not {brief(repr(value), 60)}")
    return None


def _whole(request: Request, given: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = given.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and least <= value <= most):
        return value
    request.note(name, f"a whole number from {least} to {most:,} is wanted, not {brief(repr(value), 60)}")
    return None


def _either(request: Request, given: Mapping[str, Any], name: str) -> bool | None:
    value = given.get(name)
    if value is None or isinstance(value, bool):
        return value
    request.note(name, f"true or false is wanted, not {brief(repr(value), 60)}")
    return None


def _methods(request: Request, given: Any) -> str | tuple[str, ...] | None:
    if given is None or given == "all":
        return None if given is None else "all"
    from peftscope.methods.catalog import cards

    if not isinstance(given, list) or not 0 < len(given) <= MOST_METHODS:
        request.note("methods", "'all', nothing, or a list of names is wanted")
        return None
    known: Collection[str] = cards()
    for name in given:
        if not isinstance(name, str) or name not in known:
            request.note("methods", unknown_name("method", str(name), known))
            return None
    return tuple(given)
