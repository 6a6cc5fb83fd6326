"""Result files of the public benchmark -> records that say they are foreign.

The document stays in the record, whole and as it was: what is read out of it can be read again, and exporting
gives it back. A file that peftscope exported holds its record, which comes back instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from peftscope.errors import MethodRefused, SpecError
from peftscope.schema.base import content_hash
from peftscope.schema.protocol import Protocol
from peftscope.schema.reader import problems_of
from peftscope.schema.record import Attempt, RunRecord, Status
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MeasureSpec, TaskSpec
from peftscope.store.files import ensure_folder, existing_record, record_path, write_text
from peftscope.upstream.experiment import Experiment, to_run_spec
from peftscope.upstream.metrics import UpstreamMetrics, number, read_metrics
from peftscope.upstream.training_params import Benchmark

__all__ = ["OWN_KEY", "Imported", "Names", "benchmark_of", "read_document", "read_upstream", "store_imported"]

OWN_KEY = "peftscope"
"""Where an exported file holds the record it was made from."""

MEASURED_BY = "upstream method_comparison"
"""First word of the conditions: figures of the benchmark's own code, not ranked against ours."""

NOT_QUALITY = frozenset(
    {"model_id", "seed", "optimizer_type", "optimizer_kwargs", "init_kv_cache_prefix", "sample_image_prompts"}
    | {"compile", "use_gc", "eval_steps"}
)
"""Settings that are the method's own, or cost alone; every other one is taken to decide quality."""

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "diffusers")
"""Libraries that decide time and memory."""

LATER_SETTINGS = {"use_gc": False, "init_kv_cache_prefix": None}
"""Settings the benchmark got later, with the value that stands for how it was before."""

NOTHING_MEASURED = MeasureSpec(latency=False, metered_steps=0, keep_outputs=0)
"""What our own measuring had to do with a foreign run."""

KINDS: dict[type, str] = {dict: "a mapping", str: "a text", list: "a list", type(None): "null"}

NOT_THERE = "the benchmark does not measure it"


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the rooms below know and importing needs."""

    method_name: Callable[[Mapping[str, Any] | None, Mapping[str, Any]], str]
    """Adapter config and training parameters -> name of a card (``methods.adapter_config.method_name``)."""
    metrics: Collection[str]
    """Names of every metric a run has (``measures.metrics``); those a document lacks are None with a reason."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a folder of result files holds."""

    records: tuple[RunRecord, ...]
    skipped: tuple[str, ...]
    """JSON files that are no results, each with why."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Records by benchmark; our own by their task."""


def read_upstream(folder: Path, names: Names) -> Imported:
    """Read the result files in a folder, its sub-folders, and their ``results``.

    Raises:
        SpecError: There are no result files, or with every file that is broken and why.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise SpecError(str(folder), [f"{found}; give a folder with the benchmark's result files (*.json)"])
    problems: list[str] = []
    skipped: list[str] = []
    records: dict[str, RunRecord] = {}
    counts: dict[str, int] = {}
    for path in _result_files(folder):
        where = str(path.relative_to(folder))
        try:
            document = _json_in(path)
            why = _no_result(document)
            if why is not None:
                skipped.append(f"{where}: skipped, {why}")
                continue
            record = read_document(document, names, source=where)
            record.model_dump_json()
        except SpecError as error:
            problems += [f"{where}: {line}" for line in error.problems]
            continue
        except (ValueError, RecursionError) as error:  # half a surrogate pair, nested too deep
            problems.append(f"{where}: cannot be kept as a record: {error}")
            continue
        if record.run_id not in records:
            kind = benchmark_of(document) if record.origin == "foreign" else record.spec.task.name
            counts[kind] = counts.get(kind, 0) + 1
        records[record.run_id] = record
    if problems:
        raise SpecError(str(folder), problems + skipped)
    if not records:
        hint = "; ".join(skipped[:5]) or "no *.json in it or its sub-folders"
        raise SpecError(str(folder), [f"no result files of the benchmark here: {hint}"])
    return Imported(records=tuple(records.values()), skipped=tuple(skipped), counts=counts)


def read_document(document: Mapping[str, Any], names: Names, *, source: str) -> RunRecord:
    """One result document as a record: the one it was exported from, or a foreign one.

    Raises:
        SpecError: With every problem found.
    """
    if OWN_KEY in document:
        return _own_record(document[OWN_KEY], source)
    problems = _shape_problems(document)
    if problems:
        raise SpecError(source, problems)
    benchmark = benchmark_of(document)
    spec, config, notes = _spec_of(document, benchmark, names, source)
    figures = read_metrics(document, benchmark, config)
    status, reason = _status_of(document, figures)
    protocol = _protocol_of(document, benchmark, config)
    absent = [name for name in names.metrics if name not in figures.metrics]
    missing = {name: reason if reason else figures.missing.get(name, NOT_THERE) for name in absent}
    missing |= {name: why for name, why in figures.missing.items() if name not in missing}
    return RunRecord(
        run_id=content_hash(document),
        spec=spec,
        status=status,
        reason=reason,
        attempts=(_attempt_of(document, status, reason),),
        data={"benchmark": benchmark, "dataset_info": (document.get("meta_info") or {}).get("dataset_info")},
        metrics={**figures.metrics, **dict.fromkeys(missing)},
        missing=missing,
        curve=tuple(figures.curve),
        warnings=tuple(f"{spec.method.title}: {note}" for note in dict.fromkeys([*notes, *figures.notes])),
        protocol=protocol,
        quality_protocol=protocol.quality_hash,
        cost_protocol=protocol.cost_hash,
        origin="foreign",
        single=True,
        foreign=dict(document),
    )


def store_imported(folder: Path, records: Collection[RunRecord]) -> int:
    """Write the records that are not in a study's folder yet, or read differently by now; gives their number.

    A record of our own that is there stays: it may have been done again since it was exported.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    written = 0
    for record in records:
        there, text = existing_record(folder, record.run_id), record.model_dump_json(indent=1, by_alias=True)
        # by their texts: a document may hold NaN, which equals nothing
        if there is not None and (there.origin == "own" or there.model_dump_json(indent=1, by_alias=True) == text):
            continue
        path = record_path(folder, record.run_id)
        ensure_folder(path.parent)
        write_text(path, text + "\n")
        written += 1
    return written


def benchmark_of(document: Mapping[str, Any]) -> Benchmark:
    """Which of the two benchmarks a result document is of."""
    return "image-gen" if "num_inference_steps" in document["run_info"]["train_config"] else "MetaMathQA"


def _result_files(folder: Path) -> list[Path]:
    """JSON files where results lie: a checkout of the benchmark holds many other ones."""
    places = (".", "results", "*", "*/results")
    return sorted({path for place in places for path in folder.glob(f"{place}/[!.]*.json") if path.is_file()})


def _json_in(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), [f"cannot be read: {error}"]) from error
    except (ValueError, RecursionError) as error:
        raise SpecError(str(path), [f"not valid JSON: {error}"]) from error


def _no_result(document: Any) -> str | None:
    """Why a JSON value is no result; None where it claims to be one."""
    if not isinstance(document, dict):
        return f"not a result of the benchmark: a list or single value, {type(document).__name__}"
    absent = [key for key in ("run_info", "train_info") if key not in document]
    return f"not a result of the benchmark: no {' and no '.join(absent)} in it" if absent else None


def _own_record(raw: Any, source: str) -> RunRecord:
    try:
        record = RunRecord.model_validate(raw)
    except ValidationError as error:
        raise SpecError(source, problems_of(error, RunRecord, prefix=f"{OWN_KEY}.")) from None
    # the id becomes a file's name
    if not (record.run_id.isascii() and record.run_id.isalnum()):
        raise SpecError(source, [f"{OWN_KEY}.run_id: letters and digits are wanted; given {record.run_id!r}"])
    return record


def _spec_of(
    document: Mapping[str, Any], benchmark: Benchmark, names: Names, source: str
) -> tuple[RunSpec, dict[str, Any], list[str]]:
    """The run a document is of, its settings as far as they are known, and notes on the others."""
    info, notes = document["run_info"], []
    config = {**LATER_SETTINGS, **info["train_config"]}
    if benchmark == "image-gen":
        config.pop("init_kv_cache_prefix", None)
    peft_config = info.get("peft_config")
    try:
        name = names.method_name(peft_config, config)
    except MethodRefused as error:
        name = str(peft_config.get("peft_type", "unknown")).lower()
        notes.append(f"{error}; kept under the name {name}")
    label = str(info["experiment_name"])

    def spec(known: dict[str, Any]) -> RunSpec:
        experiment = Experiment(
            name=label, folder=source, benchmark=benchmark, peft_config=peft_config, training_params=known, defaults=""
        )
        task = None if benchmark == "MetaMathQA" else TaskSpec(name=benchmark, options=_image_options(known))
        found = to_run_spec(experiment, method_name=name, task=task, warn=lambda line: None)
        method = found.method.model_copy(update={"label": label})
        return found.model_copy(update={"method": method, "measure": NOTHING_MEASURED})

    try:
        return spec(config), config, notes
    except ValidationError as error:
        unknown = {str(e["loc"][0]) for e in error.errors() if e["type"] == "extra_forbidden"}
        known = {k: v for k, v in config.items() if k not in unknown}
        notes += [f"setting {name!r} is not known here; it is kept, and part of the conditions" for name in unknown]
    try:
        spec(known)
        return spec(known), config, notes
    except ValidationError as error:
        raise SpecError(source, problems_of(error, RunSpec, prefix="run_info.train_config.")) from None


def _shape_problems(document: Mapping[str, Any]) -> list[str]:
    """What of a document is not as it must be to be read at all."""
    mapping, maybe = (dict,), (dict, type(None))
    wanted = [
        ("run_info.train_config", mapping),
        ("run_info.experiment_name", (str,)),
        ("run_info.peft_config", maybe),
        ("train_info", mapping),
        ("train_info.metrics", (list, type(None))),
        *((f"meta_info.{key}", maybe) for key in ("package_info", "system_info", "model_info", "dataset_info")),
    ]
    problems = []
    for where, types in wanted:
        value: Any = document
        for part in where.split("."):
            value = value.get(part) if isinstance(value, dict) else value
        if not isinstance(value, types):
            kinds = " or ".join(KINDS[t] for t in types)
            problems.append(f"{where}: {kinds} is wanted; given {repr(value)[:60]}")
    return problems


def _image_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are the image task's, not the training's."""
    training = {"model_id", "dtype", "batch_size", "max_steps", "eval_steps", "compile", "use_gc", "seed"}
    training |= {"grad_norm_clip", "optimizer_type", "optimizer_kwargs", "lr_scheduler", "use_amp"}
    return {k: v for k, v in config.items() if k not in training | {"autocast_adapter_dtype"}}


def _status_of(document: Mapping[str, Any], figures: UpstreamMetrics) -> tuple[Status, str | None]:
    """The benchmark calls every end but success ``canceled``; its message tells them apart."""
    status = document["train_info"].get("status")
    message = str(document["run_info"].get("error_msg") or "").strip()
    if status == "success":
        if figures.scored:
            return "ok", None
        return "error", "said to be a success, but there is no test score in it"
    reason = message or f"the benchmark says {status!r} and nothing more"
    if "out of memory" in message.lower():
        return "oom", reason
    return ("killed" if message == "manually canceled" else "error"), reason


def _attempt_of(document: Mapping[str, Any], status: Status, reason: str | None) -> Attempt:
    info, meta = document["run_info"], (document.get("meta_info") or {})
    packages, system = meta.get("package_info") or {}, meta.get("system_info") or {}
    started = str(info.get("created_at") or "unknown")
    return Attempt(
        started_at=started,
        ended_at=_later(started, number(info.get("total_time"))),
        status=status,
        reason=reason,
        environment={
            "packages": {k.removesuffix("-version"): v for k, v in packages.items() if k.endswith("-version")},
            "commits": {k.removesuffix("-commit-hash"): v for k, v in packages.items() if k.endswith("-commit-hash")},
            "peft_branch": info.get("peft_branch"),
            "system": " ".join(str(system[k]) for k in ("system", "machine") if system.get(k)) or None,
            "cpu": system.get("processor"),
            "accelerator": system.get("accelerator"),
            "system_release": system.get("release"),
        },
    )


def _later(started: str, seconds: float | None) -> str:
    try:
        return (datetime.fromisoformat(started) + timedelta(seconds=seconds or 0)).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return started


def _protocol_of(document: Mapping[str, Any], benchmark: Benchmark, config: Mapping[str, Any]) -> Protocol:
    """Conditions of a document, as far as it tells them.

    The data sets' revisions are part of them: the benchmark notes the newest one at the hub and not the one it
    loaded, so that two results with different ones cannot be told to have seen the same rows.
    """
    meta = document.get("meta_info") or {}
    packages, system = meta.get("package_info") or {}, meta.get("system_info") or {}
    model, data = meta.get("model_info") or {}, meta.get("dataset_info") or {}
    return Protocol(
        quality={
            "measured_by": f"{MEASURED_BY}/{benchmark}",
            "model": {"id": config["model_id"], "sha": model.get("sha")},
            "data": _shas(data),
            "settings": {k: v for k, v in sorted(config.items()) if k not in NOT_QUALITY},
        },
        cost={
            "accelerator": system.get("accelerator"),
            "system": [system.get("system"), system.get("machine")],
            "packages": {name: packages.get(f"{name}-version") for name in PACKAGES},
            **{k: config.get(k) for k in ("compile", "use_gc")},
        },
    )


def _shas(data: Mapping[str, Any]) -> dict[str, Any]:
    """Revision of every data set: the image task has one, without a name of its own."""
    if "sha" in data:
        return {"data": data["sha"]}
    return {name: info.get("sha") if isinstance(info, Mapping) else info for name, info in data.items()}
