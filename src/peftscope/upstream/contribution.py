"""Records -> a folder in the layout in which the public benchmark takes experiments and results by pull request.

``method_comparison/BENCHMARK/experiments/METHOD/NAME`` holds the settings of one configuration, as the benchmark reads
them; ``method_comparison/BENCHMARK/results`` a file for each of its seeds. The benchmark's own defaults are left out of
the settings, as it wants them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from peftscope.errors import SpecError
from peftscope.schema.reader import problems_of
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.store.local_paths import public_source, without_local_paths
from peftscope.upstream.experiment import ADAPTER_FILE, PARAMS_FILE, WARMUP_FRACTION
from peftscope.upstream.results_out import document_of, file_safe
from peftscope.upstream.training_params import (
    DEFAULT_PARAMS,
    IMAGE_DEFAULT_PARAMS,
    Benchmark,
    ImageParams,
    TextParams,
)

__all__ = ["BENCHMARKS", "Contribution", "contribution_of"]

BENCHMARKS: dict[str, Benchmark] = {"math": "MetaMathQA", "concept": "image-gen"}
"""Task -> benchmark whose task it is."""
ROOT = "method_comparison"
WITHOUT_ADAPTER = "full-finetuning"
JOINED = ("P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT")
"""Types that name a folder there without their underscore; the others keep it."""
FREE = ("seed", "optimizer_type", "optimizer_kwargs", "eval_steps", "batch_size_eval", "use_gc", "compile")
"""Settings by which its own experiments differ from one another, or which decide no score."""


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What a pull request would bring."""

    files: Mapping[str, str]
    """Path in a clone -> content."""
    benchmark: Benchmark
    experiments: tuple[str, ...]
    """Names of the experiments, as ``METHOD/NAME``."""
    num_results: int
    differing: tuple[str, ...]
    """Where the conditions are not the benchmark's own, a line each."""


def contribution_of(
    records: Collection[RunRecord], source: str, *, optimizer_of: Callable[[str], str | None]
) -> Contribution:
    """The experiments and results of some finished runs of one task.

    Args:
        records: Final runs of ours that have a result.
        source: What they are of, for a message.
        optimizer_of: Gives what the benchmark calls the own optimizer of a method; None for the usual one.

    Raises:
        SpecError: There are none, the task is none of the benchmark's, or it has no such settings.
    """
    if not records:
        raise SpecError(source, ["no finished run of ours in it: there is nothing to contribute"])
    (task, *others) = sorted({record.spec.task.name for record in records})
    if others or task not in BENCHMARKS:
        listed = ", ".join(f"{name} ({benchmark})" for name, benchmark in BENCHMARKS.items())
        raise SpecError(
            source,
            [
                f"is of the task {task}; the public benchmark takes results of its own tasks: {listed}. "
                f"'peftscope export {source} --layout upstream --to DIR' writes files in its form all the same"
            ],
        )
    benchmark, names = BENCHMARKS[task], _names(records)
    files: dict[str, str] = {}
    differing: dict[str, None] = {}
    for record in sorted(records, key=lambda r: (names[r.run_id], r.spec.seed)):
        name, document = names[record.run_id], document_of(_without_texts(record))
        params = _params(record, document["run_info"]["train_config"], benchmark, optimizer_of, source)
        differing |= dict.fromkeys(_differing(record, params, benchmark))
        place = f"{ROOT}/{benchmark}/experiments/{name}"
        config = document["run_info"]["peft_config"]
        if config is not None:
            files.setdefault(f"{place}/{ADAPTER_FILE}", _text(_plain_config(config)))
        if params or config is None:
            files.setdefault(f"{place}/{PARAMS_FILE}", _text(params))
        document["run_info"]["experiment_name"] = name if record.spec.seed == 0 else f"{name}-seed_{record.spec.seed}"
        stem = file_safe(document["run_info"]["experiment_name"])
        files[f"{ROOT}/{benchmark}/results/{stem}.json"] = _text(document)
    return Contribution(
        files=files,
        benchmark=benchmark,
        experiments=tuple(sorted(set(names.values()))),
        num_results=len(records),
        differing=tuple(differing),
    )


def _names(records: Collection[RunRecord]) -> dict[str, str]:
    """Run id -> experiment it is of, named as the benchmark's are: ``METHOD/BASE-…``.

    Configurations that differ in more than the seed have names of their own.
    """
    names: dict[str, str] = {}
    configurations: dict[str, list[RunSpec]] = {}
    for record in sorted(records, key=lambda r: r.run_id):
        spec = record.spec
        rate = "" if spec.learning_rate is None else f"-lr_{spec.learning_rate:g}"
        base = public_source(spec.model.source).replace(":", "/").rpartition("/")[2]
        name = f"{_method_folder(record)}/{file_safe(f'{base}-{spec.method.title}{rate}')}"
        same = configurations.setdefault(name, [])
        what = spec.model_copy(update={"seed": 0})
        if what not in same:
            same.append(what)
        number = same.index(what)
        names[record.run_id] = name if number == 0 else f"{name}-{number + 1}"
    return names


def _method_folder(record: RunRecord) -> str:
    built = record.method_facts.peft_config if record.method_facts else None
    kind = (built or record.spec.method.peft_config or {}).get("peft_type")
    if not isinstance(kind, str):
        return WITHOUT_ADAPTER if built is None else file_safe(record.spec.method.name)
    return kind.lower().replace("_", "") if kind in JOINED else file_safe(kind.lower())


def _without_texts(record: RunRecord) -> RunRecord:
    """A record without what the test examples said and what was answered: scores alone are anybody's business."""
    bare = tuple(replace(example, prompt=None, target=None, output=None) for example in record.examples)
    attempts = tuple(attempt.model_copy(update={"traceback": None}) for attempt in record.attempts)
    return record.model_copy(update={"examples": bare, "attempts": attempts, "artefacts": ()})


def _params(
    record: RunRecord,
    config: Mapping[str, Any],
    benchmark: Benchmark,
    optimizer_of: Callable[[str], str | None],
    source: str,
) -> dict[str, Any]:
    """What an experiment's own file says: what differs from the benchmark's defaults."""
    defaults = DEFAULT_PARAMS if benchmark == "MetaMathQA" else IMAGE_DEFAULT_PARAMS
    known = {key: _filled(value) for key, value in config.items() if key in defaults and value not in (None, "")}
    optimizer = optimizer_of(record.spec.method.name)
    if optimizer is not None:
        known["optimizer_type"] = optimizer
    # None is a setting where the benchmark has another one by default
    known |= {key: None for key in ("lr_scheduler",) if config.get(key) is None}
    params = {key: value for key, value in known.items() if value != defaults[key] and key != "seed"}
    model = TextParams if benchmark == "MetaMathQA" else ImageParams
    try:
        model.model_validate({**defaults, **params})
    except ValidationError as error:
        lines = [f"{record.spec.method.title}: {line}" for line in problems_of(error, model)]
        raise SpecError(
            source, [*lines, "the benchmark has no such setting, so that it cannot repeat the run"]
        ) from None
    return params


def _filled(value: Any) -> Any:
    """A setting without the parts that say nothing."""
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def _differing(record: RunRecord, params: Mapping[str, Any], benchmark: Benchmark) -> Iterator[str]:
    """Conditions that are not the benchmark's."""
    defaults = DEFAULT_PARAMS if benchmark == "MetaMathQA" else IMAGE_DEFAULT_PARAMS
    for key, value in params.items():
        if key not in FREE:
            yield f"{key}: {_short(value)}; the benchmark: {_short(defaults[key])}"
    options, train = record.spec.task.options, record.spec.train
    if benchmark == "image-gen" and not options.get("encoder"):
        yield f"encoder: one of ours; the benchmark: {_short(defaults['dino_model_id'])}"
    if benchmark == "MetaMathQA" and not options.get("upstream"):
        data = without_local_paths(str(options.get("train") or options.get("source")))
        yield f"data: {_short(data)}; the benchmark: its own split of MetaMathQA, tested on GSM8K"
    if train.schedule == "cosine" and train.warmup_fraction != WARMUP_FRACTION:
        yield f"warm-up: {train.warmup_fraction:g} of the steps; the benchmark: {WARMUP_FRACTION:g}"


def _plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """An adapter's config without the model it was made for."""
    plain: dict[str, Any] = without_local_paths(dict(config))
    return {**plain, "base_model_name_or_path": None, "revision": None, "inference_mode": False}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
