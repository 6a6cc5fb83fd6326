"""Records -> result files in the layout of the public benchmark.

A foreign record gives back its document. One of our own gives a document with the benchmark's keys, which its own
reader takes: where the benchmark measures over another window there stands our nearest quantity, and beside it, under
``peftscope_windows``, what that is. What we don't know is 0 where the reader wants a whole number, the benchmark's own
word for it, and NaN where it wants a number; the whole record stands beside. No path of this machine is in it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from peftscope.measures.registry import metric_specs
from peftscope.schema.record import Attempt, CurvePoint, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import ModelSpec
from peftscope.store.files import ensure_folder, write_text
from peftscope.store.local_paths import public_source, without_local_paths
from peftscope.upstream.metrics import SCORES
from peftscope.upstream.results_in import OWN_KEY, benchmark_of

__all__ = ["document_of", "export_upstream", "file_safe"]

PACKAGES = ("transformers", "peft", "datasets", "bitsandbytes", "torch")
"""Libraries the benchmark notes, in its order."""

SCORED_AS = {"concept": SCORES["image-gen"]}
"""Task -> what the benchmark calls its score; any other task's is what its text task calls it."""

OF_IMAGES = (
    "resolution",
    "image_column",
    "valid_size",
    "test_size",
    "num_inference_steps",
    "guidance_scale",
    "weighting_scheme",
    "logit_mean",
    "logit_std",
    "mode_scale",
)
"""Settings of the image benchmark that go by its names here, too."""

WINDOWS_KEY = "peftscope_windows"
UNKNOWN = float("nan")
NEAREST = {
    "train": ("peak_train_reserved_bytes", "peak_train_memory_bytes", "sampled_train_memory_bytes"),
    "eval": ("peak_eval_reserved_bytes", "peak_eval_memory_bytes", "sampled_eval_memory_bytes"),
}
"""What comes nearest to the benchmark's memory, which is reserved by an accelerator's allocator; the nearest first."""

LONGEST_NAME = 200
"""Bytes of a file's name, so that an id and the ending still fit into the 255 that file systems take."""


def export_upstream(records: Collection[RunRecord], folder: Path) -> list[Path]:
    """Write one file per record; several benchmarks or tasks get a sub-folder each.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    placed = []
    for record in records:
        document = document_of(record)
        kind = benchmark_of(document) if record.origin == "foreign" else record.spec.task.name
        placed.append((file_safe(kind), file_safe(str(document["run_info"]["experiment_name"])), record, document))
    kinds = {kind for kind, _, _, _ in placed}
    # file systems that know no case would let one take the other's place
    taken = Counter((kind, stem.lower()) for kind, stem, _, _ in placed)
    paths = []
    for kind, stem, record, document in placed:
        place = folder / kind if len(kinds) > 1 else folder
        name = stem if taken[kind, stem.lower()] == 1 else f"{stem}--{record.run_id}"
        ensure_folder(place)
        path = place / f"{name}.json"
        write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        paths.append(path)
    return paths


def document_of(record: RunRecord) -> dict[str, Any]:
    """A record as a result document of the benchmark."""
    if record.foreign is not None:
        return record.foreign
    document: dict[str, Any] = without_local_paths(
        {
            "run_info": _run_info(record),
            "train_info": _train_info(record),
            "meta_info": _meta_info(record),
            WINDOWS_KEY: _windows(record),
            OWN_KEY: json.loads(record.model_dump_json(by_alias=True)),
        }
    )
    return document


def _windows(record: RunRecord) -> dict[str, str]:
    """What stands under the benchmark's keys where it is another quantity than the benchmark's."""
    train, both = _memory(record, "train"), _memory(record, "train", "eval")
    named = {
        "run_info.total_time": ("total_time_s",),
        "train_info.train_time": ("train_time_s",),
        "train_info.accelerator_memory_reserved_avg": train,
        "train_info.accelerator_memory_reserved_99th": train,
        "train_info.accelerator_memory_max": both,
        "metrics.forgetting": ("forgetting",),
        "metrics.drift": ("image_drift",),
    }
    specs = metric_specs()
    known = {key: [n for n in names if record.metrics.get(n) is not None] for key, names in named.items()}
    told = {key: "; ".join(f"{name}: {specs[name].window}" for name in names) for key, names in known.items() if names}
    if record.metric is not None:
        told[f"metrics.test {_score_name(record)}"] = f"{record.metric.name}: {record.metric.window}"
    return told


def _score_name(record: RunRecord) -> str:
    return SCORED_AS.get(record.spec.task.name, SCORES["MetaMathQA"])


def _memory(record: RunRecord, *phases: str) -> tuple[str, ...]:
    """The metrics that come nearest to the benchmark's memory, one for each phase that has one."""
    found = (next((name for name in NEAREST[p] if record.metrics.get(name) is not None), None) for p in phases)
    return tuple(name for name in found if name is not None)


def _peak(record: RunRecord, *phases: str) -> int:
    return max((int(record.metrics[name] or 0) for name in _memory(record, *phases)), default=0)


def _run_info(record: RunRecord) -> dict[str, Any]:
    spec, attempt = record.spec, _measured_attempt(record)
    rate = "" if spec.learning_rate is None else f"-lr_{spec.learning_rate:g}"
    built = record.method_facts.peft_config if record.method_facts else None
    return {
        "created_at": attempt.started_at if attempt else None,
        "total_time": _known(record, "total_time_s"),
        "experiment_name": f"{spec.method.name}/{spec.method.title}{rate}-seed_{spec.seed}",
        "peft_branch": f"v{_packages(attempt).get('peft') or '?'}",
        "train_config": _train_config(record),
        "peft_config": built if built is not None else spec.method.peft_config,
        "error_msg": record.reason or "",
    }


def _measured_attempt(record: RunRecord) -> Attempt | None:
    """The start the record's figures are of."""
    return next((a for a in reversed(record.attempts) if a.kind == "run"), None)


def _train_config(record: RunRecord) -> dict[str, Any]:
    """The settings of both benchmarks, and those of the one the task is of."""
    spec, train = record.spec, record.spec.train
    own = _of_images(spec) if spec.task.name in SCORED_AS else _of_texts(spec)
    return {
        "model_id": public_source(spec.model.source),
        "dtype": _dtype(spec.model),
        # samples in a step: the benchmark knows no accumulation
        "batch_size": train.batch_size * train.accumulation,
        "batch_size_eval": spec.task.options.get("eval_batch_size"),
        "max_steps": train.max_steps,
        "eval_steps": train.eval_every,
        "compile": False,
        "use_gc": train.checkpointing,
        "seed": spec.seed,
        "grad_norm_clip": train.grad_norm_clip or 0.0,  # the benchmark's word for no clipping
        "optimizer_type": None,
        "optimizer_kwargs": {"lr": spec.learning_rate, "weight_decay": train.weight_decay, **spec.method.optimizer},
        "lr_scheduler": None if train.schedule == "constant" else train.schedule,
        "use_amp": train.autocast,
        "autocast_adapter_dtype": train.autocast_adapter_dtype,
        **own,
    }


def _of_texts(spec: RunSpec) -> dict[str, Any]:
    options = spec.task.options
    return {
        "max_seq_length": options.get("max_length"),
        "query_template": options.get("query_template"),
        "generation_kwargs": {
            "max_length": options.get("max_generation_length"),
            "max_new_tokens": options.get("max_new_tokens"),
        },
        "attn_implementation": spec.model.attn_implementation,
        "init_kv_cache_prefix": spec.method.knobs.get("init_kv_cache_prefix"),
    }


def _of_images(spec: RunSpec) -> dict[str, Any]:
    options = spec.task.options
    renamed = {
        "dataset_id": public_source(str(options.get("source", ""))),
        "dataset_split": options.get("split"),
        "max_sequence_length": options.get("max_tokens"),
        "text_encoder_out_layers": options.get("text_layers"),
        "dino_model_id": public_source(str(options.get("encoder", ""))),
        "dino_image_size": options.get("encoder_size"),
        "instance_prompts": options.get("prompts"),
        "sample_image_prompts": options.get("sample_prompts"),
        "drift_image_prompts": options.get("drift_prompts"),
    }
    return {**{name: options.get(name) for name in OF_IMAGES}, **renamed}


def _dtype(model: ModelSpec) -> str | None:
    if model.quantization is not None:
        return {"int8": "int8", "nf4": "int4"}.get(str(model.quantization))
    return None if model.dtype == "auto" else model.dtype


def _train_info(record: RunRecord) -> dict[str, Any]:
    figures = record.metrics
    return {
        "accelerator_memory_reserved_avg": _peak(record, "train"),
        # over training and evaluation, as in the benchmark's text task
        "accelerator_memory_max": _peak(record, "train", "eval"),
        "accelerator_memory_reserved_99th": _peak(record, "train"),
        "train_time": _known(record, "train_time_s"),
        "file_size": int(figures.get("checkpoint_bytes") or 0),
        "num_trainable_params": int(figures.get("num_trainable_params") or 0),
        "num_total_params": int(figures.get("num_total_params") or 0),
        "status": "success" if record.status == "ok" else "canceled",
        "metrics": [*_points(record), *_last_point(record)],
    }


def _known(record: RunRecord, name: str) -> float:
    value = record.metrics.get(name)
    return UNKNOWN if value is None else value


def _packages(attempt: Attempt | None) -> Mapping[str, str | None]:
    return (attempt.environment.get("packages") if attempt else None) or {}


def _points(record: RunRecord) -> Iterator[dict[str, Any]]:
    train, score = record.spec.train, _score_name(record)
    start = CurvePoint(step=0, learning_rate=0.0, train_loss=0.0, train_time_s=0.0)
    for before, point in pairwise((start, *record.curve)):
        yield {
            "step": point.step,
            f"valid {score}": point.valid_score,
            "train loss": point.train_loss,
            "train samples": point.step * train.batch_size * train.accumulation,
            "train time": point.train_time_s - before.train_time_s,
            "eval time": None,
            "tokens / sec": None,
            "mem allocated avg": None,
            "mem reserved avg": None,
            "elapsed time": None,
        }


def _last_point(record: RunRecord) -> Iterator[dict[str, Any]]:
    """The test's entry; a run that was not tested has none, as in the benchmark."""
    figures, score = record.metrics, _score_name(record)
    if figures.get("test_score") is None:
        return
    yield {
        "step": figures.get("num_steps"),
        f"test {score}": figures["test_score"],
        "train loss": _known(record, "train_loss"),
        "train samples": int(figures.get("num_samples") or 0),
        "train total tokens": int(figures.get("num_units") or 0),
        "forgetting": _known(record, "forgetting"),
        **({"drift": figures["image_drift"]} if figures.get("image_drift") is not None else {}),
    }


def _meta_info(record: RunRecord) -> dict[str, Any]:
    attempt = _measured_attempt(record)
    environment: Mapping[str, Any] = attempt.environment if attempt else {}
    packages = _packages(attempt)
    system, _, machine = str(environment.get("system") or "").partition(" ")
    versions: dict[str, Any] = {}
    for name in PACKAGES:
        versions |= {f"{name}-version": packages.get(name) or "not installed", f"{name}-commit-hash": None}
    return {
        "model_info": {"sha": None, "created_at": None},
        "dataset_info": {record.spec.task.name: {"sha": None, "created_at": None}},
        "package_info": versions,
        "system_info": {
            "system": system or None,
            "release": None,
            "version": None,
            "machine": machine or None,
            "processor": environment.get("cpu"),
            "accelerator": environment.get("accelerator"),
        },
        "pytorch_info": None,
    }


def file_safe(name: str) -> str:
    """The benchmark's name of a file: ``--`` for a slash; nothing in it that leads elsewhere."""
    plain = re.sub(r"[\x00-\x1f\x7f]", "_", re.sub(r"[/\\]+", "--", name))
    return plain.lstrip(".").encode()[:LONGEST_NAME].decode(errors="ignore") or "unnamed"
