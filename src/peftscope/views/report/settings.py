"""What each method was built as, and the code that builds it with ``peft``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from peftscope.analysis.traits import Traits
from peftscope.schema.flat_settings import flat
from peftscope.schema.record import RunRecord
from peftscope.views.run_sections import module_patterns

__all__ = ["code_data", "settings_data"]

OF_ITS_PLACE = ("base_model_name_or_path", "peft_version", "auto_mapping", "inference_mode", "revision")
"""Of a config as ``peft`` holds it: where and by what it was made, and not what it is."""


def settings_data(records: Iterable[RunRecord], names: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Method -> its settings as lines of name and text, from the first seed's run that was built.

    Results of others say what a method was to be, and not what it was built as.
    """
    return {method: _settings(record) for method, record in _first(records, names, _is_told).items()}


def _first(
    records: Iterable[RunRecord], names: Mapping[str, str], taken: Callable[[RunRecord], bool]
) -> dict[str, RunRecord]:
    found: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda record: (record.status != "ok", record.spec.seed)):
        if record.spec.purpose == "final" and taken(record):
            found.setdefault(names.get(record.run_id, record.spec.method.title), record)
    return found


def _is_built(record: RunRecord) -> bool:
    return record.method_facts is not None


def _is_told(record: RunRecord) -> bool:
    return _is_built(record) or record.origin == "foreign"


def _settings(record: RunRecord) -> list[tuple[str, str]]:
    facts, method = record.method_facts, record.spec.method
    known = {
        "method": method.name,
        "learning_rate": record.spec.learning_rate,
        "optimizer": method.optimizer or None,
        "adapted modules": (facts and ", ".join(module_patterns(facts.adapted_modules))) or None,
        **({} if facts else method.knobs),
        **_in_order(_config((facts.peft_config if facts else method.peft_config) or {})),
    }
    return flat(known)


def _in_order(config: Mapping[str, Any]) -> dict[str, Any]:
    """Names of modules sorted: ``peft`` holds them as a set, and each run writes them in an order of its own."""
    modules = {k: sorted(v) for k, v in config.items() if k.endswith("_modules") and isinstance(v, list)}
    return {**config, **modules}


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if k not in OF_ITS_PLACE and v not in (None, {}, [])}


def code_data(
    records: Iterable[RunRecord], names: Mapping[str, str], traits: Mapping[str, Traits], adapters: Mapping[str, str]
) -> dict[str, dict[str, str | None]]:
    """Method -> code that builds it for training (``train``), and that loads what was trained (``load``).

    Args:
        records: Runs of any kind.
        names: Run id -> candidate, where that is not the run's title.
        traits: What every method can do, by its name.
        adapters: Method -> folder of its trained weights, of those that have one.
    """
    found: dict[str, dict[str, str | None]] = {}
    for method, record in _first(records, names, _is_built).items():
        assert record.method_facts is not None
        config = record.method_facts.peft_config
        if config is not None:
            load = _loading(adapters[method]) if method in adapters else None
            found[method] = {"train": _training(record, config, traits.get(record.spec.method.name)), "load": load}
    return found


def _training(record: RunRecord, config: Mapping[str, Any], traits: Traits | None) -> str:
    own = {**(traits.settings if traits else {}), **(traits.knobs if traits else {})}
    kept = {k: v for k, v in config.items() if k in _config(config) or (k in own and k not in OF_ITS_PLACE)}
    settings = "".join(f"    {json.dumps(k)}: {_literal(v)},\n" for k, v in kept.items())
    notes = []
    if record.spec.model.quantization is not None:
        notes.append(f"# on a quantized base: {record.spec.model.quantization}")
    if record.spec.learning_rate is not None:
        notes.append(f"# learning rate {record.spec.learning_rate:g}")
    if traits is not None and traits.optimizer is not None:
        notes.append(f"# trained with an optimizer of its own: {traits.optimizer}")
    if traits is not None and traits.starts_from_data:
        notes.append("# its start needs a look at training data, see the documentation of peft")
    lines = "".join(f"{note}\n" for note in notes)
    return (
        "from peft import get_peft_config, get_peft_model\n\n"
        f"{lines}config = get_peft_config({{\n{settings}}})\n"
        "model = get_peft_model(base, config)    # base: the model as its library loads it\n"
    )


def _literal(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


def _loading(folder: str) -> str:
    return (
        "from peft import PeftModel\n\n"
        f"model = PeftModel.from_pretrained(base, {folder!r})    # base: the model as its library loads it\n"
    )
