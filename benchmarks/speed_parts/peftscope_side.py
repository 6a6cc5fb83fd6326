"""peftscope's side of ``speed.py``, each piece of work in a process of its own.

    python benchmarks/speed_parts/peftscope_side.py WORK JOB.json RESULT.json

Every piece goes through what a run goes through: the kind's ``load`` and ``predictor``, ``prepare``, ``build``,
``Fit``, ``Task.score``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

MODEL, TASK = "model", "task"


def facts(job: dict[str, Any]) -> dict[str, Any]:
    """What the plain loop needs to do the same: folder, rows, batches, prompts, ends, and a config of each method."""
    from peftscope.models.source import locate
    from peftscope.schema.study import ModelSpec, TrainSpec
    from peftscope.tasks.text.text_metrics import next_prompt_of

    _, loaded, task = _opened(job)
    batches = list(islice(task.batches(job["seed"]), -(-task.epoch_size() // job["batch_size"])))
    rows: list[dict[str, Any]] = []
    numbers: list[list[int]] = []
    for batch in batches:
        numbers.append(list(range(len(rows), len(rows) + len(batch["input_ids"]))))
        rows += _rows_of(batch)
    folder = locate(ModelSpec.model_validate(job[MODEL])).folder
    width, methods = loaded.width, {}
    for title, method in job["methods"].items():
        ready = _built(job, title, method, TrainSpec(batch_size=job["batch_size"]), width)
        methods[title] = {"peft": ready.built.peft_config or "full", "learning_rate": ready.rate}
    form = job[TASK].get("query_template") or getattr(task, "form", "")
    return {
        "folder": str(folder),
        "rows": rows,
        "batches": numbers,
        "prompts": {split: _prompts(task, loaded, split) for split in ("valid", "test")},
        "end_ids": list(loaded.processor.listed_ends),
        "stop_strings": [*task.options.stop, *next_prompt_of(form)],
        "methods": methods,
    }


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Train one method in each memory setting: seconds, tokens and loss of every step.

    With ``memory`` also, by setting, what it takes at most of the device.
    """
    trained = {setting: _trained(job, setting) for setting in job["settings"]}
    found: dict[str, Any] = {setting: steps for setting, (steps, _) in trained.items()}
    return {**found, "memory": {setting: taken for setting, (_, taken) in trained.items()}}


def _trained(job: dict[str, Any], setting: str) -> tuple[list[dict[str, float]], dict[str, int] | None]:
    """Steps of a training in a memory setting, and what it takes where that is asked for."""
    from peftscope.methods.optimizers import OptimizerSettings
    from peftscope.models.device import reset_memory_peaks
    from peftscope.schema.study import TrainSpec
    from peftscope.training.loop import Fit, Hooks
    from peftscope.training.result import FitResult
    from peftscope.training.seeding import seed_everything

    spec = TrainSpec.model_validate({"max_steps": job["steps"], "batch_size": job["batch_size"], "memory": setting})
    ready = _built(job, job["title"], job["method"], spec, None)
    built, result = ready.built, FitResult()
    optimizer = built.make_optimizer(OptimizerSettings(learning_rate=job.get("learning_rate") or ready.rate))
    seed_everything(job["seed"])
    watch = _Steps(result)
    fit = Fit(
        built.model,
        ready.task,
        spec,
        optimizer=optimizer,
        seed=job["seed"],
        result=result,
        hooks=Hooks(after_step=built.after_step, penalty=built.penalty),
        on_progress=watch,
    )
    reset_memory_peaks(next(built.model.parameters()).device)  # and an earlier setting's cache is given back
    watch.begin()
    fit.run()
    taken = _memory(job, ready, spec, optimizer) if job.get("memory") else None
    return watch.steps, taken


def _memory(job: dict[str, Any], ready: _Ready, spec: Any, optimizer: Any) -> dict[str, int]:
    """Bytes of the base, and the most that is allocated at the longest batch, after the training."""
    from peftscope.measures.base import Trained
    from peftscope.measures.memory import metered_training_bytes
    from peftscope.measures.peak_meter import PeakMeter
    from peftscope.schema.run import RunSpec
    from peftscope.training.loop import Hooks, train_step

    built, task, hooks = ready.built, ready.task, Hooks(penalty=ready.built.penalty)
    with PeakMeter(next(built.model.parameters()).device) as meter:
        train_step(built.model, task, [task.longest_batch()], optimizer, spec, step=spec.max_steps, hooks=hooks)
    if (peak := meter.allocated_bytes) is None:  # as a run's record does without counters
        run = RunSpec(model=job[MODEL], task=job[TASK], method=job["method"], train=spec)
        rest: dict[str, Any] = {"kind": ready.kind, "predictor": None, "checkpoint": Path(), "folder": Path()}
        peak = metered_training_bytes(Trained(built=built, task=task, spec=run, optimizer=optimizer, **rest))
    return {"base_bytes": ready.base_bytes, "peak_bytes": peak}


def score(job: dict[str, Any]) -> dict[str, Any]:
    """Score trained weights as a run does: seconds, texts, token counts, scores and the way that was decoded in.

    With ``prompts`` the predictor alone answers them; of several ``rounds`` the last one's seconds are told.
    """
    kind, loaded, task = _opened(job)
    model = _weighted(loaded.model, job.get("adapter"))
    scores: list[float] = []
    for _ in range(job.get("rounds", 1)):
        predictor = _Watched(kind.predictor(loaded, lambda done, of: None))
        started = time.perf_counter()
        if job.get("prompts"):
            options = {name: job[name] for name in ("max_new_tokens", "batch_size")}
            predictor(model, job["prompts"], max_length=None, end_ids=job["end_ids"], **options)
        else:
            scores = [outcome.score for outcome in task.score(model, predictor, "test")]
        seconds = time.perf_counter() - started
    answers = [{"text": answer.text, "num_tokens": answer.num_tokens} for answer in predictor.answers]
    way = next(iter(getattr(predictor, "ways", {}).values()), None)
    return {"score_s": seconds, "answers": answers, "scores": scores, "way": way}


def grade(job: dict[str, Any]) -> dict[str, Any]:
    """What given token ids would score as answers of the test split, by name of who gave them."""
    _, loaded, task = _opened(job)
    scores = {}
    for name, answers in job["answers"].items():
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        scores[name] = list(task.scores_of("test", [loaded.processor.decode(ids, **options) for ids in answers]))
    return {"scores": scores}


def harness(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds a step of the loop and of the same by hand on the same batches, in turns."""
    import torch
    from transformers import get_cosine_schedule_with_warmup

    from peftscope.methods.optimizers import OptimizerSettings
    from peftscope.schema.study import TrainSpec
    from peftscope.training.loop import Fit
    from peftscope.training.result import FitResult

    spec = TrainSpec(max_steps=job["steps"], batch_size=job["batch_size"])
    ready = _built(job, job["title"], job["method"], spec, None)
    found: dict[str, list[float]] = {"loop": [], "by hand": []}
    for repetition in range(job["repetitions"] + 1):
        optimizer = ready.built.make_optimizer(OptimizerSettings(learning_rate=1e-8))
        fit = Fit(ready.built.model, ready.task, spec, optimizer=optimizer, seed=job["seed"], result=FitResult())
        started = time.perf_counter()
        fit.run()
        found["loop"].append((time.perf_counter() - started) / job["steps"])
        optimizer = ready.built.make_optimizer(OptimizerSettings(learning_rate=1e-8))
        schedule = get_cosine_schedule_with_warmup(optimizer, 3, job["steps"])
        ready.built.model.train()
        trained = [parameter for parameter in ready.built.model.parameters() if parameter.requires_grad]
        started = time.perf_counter()
        for batch in islice(ready.task.batches(job["seed"]), job["steps"]):
            ready.built.model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        found["by hand"].append((time.perf_counter() - started) / job["steps"])
        if not repetition:  # the first of both warms up
            found = {"loop": [], "by hand": []}
    return found


def stages(job: dict[str, Any]) -> dict[str, Any]:
    """Runs of a study as its processes do them: seconds in every stage, and what the record says of its training."""
    from peftscope.execution.executors.local import LocalExecutor
    from peftscope.execution.launcher import launch, study_lock
    from peftscope.schema.study import StudySpec
    from peftscope.tuning.expand import expand
    from peftscope.tuning.job import Job
    from peftscope.tuning.scheduler import FixedScheduler

    runs, folder = expand(StudySpec.model_validate(job["study"])), Path(job["folder"])
    watch = _stage_watch()
    with study_lock(folder, lambda: None):
        executor = LocalExecutor(folder)
        checked = executor.check(runs)
        executor.share_out(checked.machine, threads=job["threads"])
        scheduler = FixedScheduler(Job(run=run) for run in runs)
        records = launch(scheduler, folder, checked=checked, executor=executor, listeners=[watch])
    failed = [record.reason for record in records if record.status != "ok"]
    if failed:
        raise RuntimeError(f"a run failed: {failed[0]}")
    for row, record in zip(watch.rows, records, strict=True):
        row["train_time_s"] = record.metrics["train_time_s"]
    return {"runs": watch.rows}


def study(job: dict[str, Any]) -> dict[str, Any]:
    """What a finished study tried and found, from its folder."""
    from peftscope.study.study import Study

    found = Study.load(job["folder"]).results()
    runs = [
        {
            "method": record.spec.method.title,
            "learning_rate": record.spec.learning_rate,
            "seed": record.spec.seed,
            "purpose": record.spec.purpose,
            "status": record.status,
            "steps": record.metrics.get("num_steps") or 0,
            "total_s": record.metrics.get("total_time_s") or 0.0,
            "train_s": record.metrics.get("train_time_s") or 0.0,
            "peft": record.method_facts.peft_config or "full" if record.method_facts else None,
            "score": record.metrics.get("test_score"),
        }
        for record in found.records
    ]
    return {"runs": runs, "tiers": [list(tier) for tier in found.verdict.tiers]}


def _opened(job: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Kind, loaded model and task."""
    from peftscope.schema.study import ModelSpec, TaskSpec
    from peftscope.tasks import registry
    from peftscope.tasks.base import TaskContext

    model, task = ModelSpec.model_validate(job[MODEL]), TaskSpec.model_validate(job[TASK])
    kind = registry.kind_of(model, task)
    loaded = kind.load(model)
    context = TaskContext(processor=loaded.processor, kind=kind.name, batch_size=job["batch_size"])
    return kind, loaded, registry.create(task, context)


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """A method on a model, ready to train."""

    kind: Any
    task: Any
    built: Any
    rate: float
    """Learning rate a search would begin with."""
    base_bytes: int
    """Of the model without the method."""


def _built(job: dict[str, Any], title: str, method: dict[str, Any], train: Any, width: int | None) -> _Ready:
    """Load the model and put the method on it."""
    from peftscope.methods.build import BuildContext, build
    from peftscope.methods.catalog import card
    from peftscope.schema.study import MethodSpec
    from peftscope.training.memory_settings import prepare
    from peftscope.training.seeding import seed_everything

    kind, loaded, task = _opened(job)
    spec = MethodSpec.model_validate({"label": title, **method})
    rate = card(spec.name).rate.centre(width or loaded.width)
    base_bytes = sum(tensor.nbytes for tensor in (*loaded.model.parameters(), *loaded.model.buffers()))
    prepare(loaded.model, train)
    seed_everything(job["seed"])
    context = BuildContext(
        seed=job["seed"],
        max_steps=train.max_steps,
        learning_rate=rate,
        calibration=lambda: islice(task.batches(job["seed"]), 8),
        task_type=kind.task_type,
        inputs=kind.inputs(loaded.processor),
        processor=loaded.processor,
        warn=lambda line: None,
    )
    built = build(loaded.model, spec, context)
    return _Ready(kind=kind, task=task, built=built, rate=rate, base_bytes=base_bytes)


def _rows_of(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a batch without padding, and how many tokens of each are the prompt's."""
    for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"]):
        learned = labels != -100
        yield {"ids": ids[mask == 1].tolist(), "prompt": int(learned.int().argmax()) if learned.any() else len(ids)}


def _prompts(task: Any, loaded: Any, split: str) -> list[list[int]]:
    """Token ids of a split's prompts, as the task hands them to a predictor."""
    from peftscope.models.kinds.causal_lm.generation import Generated
    from peftscope.models.kinds.causal_lm.prompts import prompt_token_ids

    seen: list[Any] = []

    def listen(model: Any, prompts: Sequence[Any], **options: Any) -> list[Generated]:
        seen.extend(prompts)
        return [Generated(text="", num_tokens=0, truncated=False) for _ in prompts]

    task.score(loaded.model, listen, split)
    if isinstance(seen[0], str):
        return prompt_token_ids(loaded.processor, seen)
    return [[int(token) for token in row] for row in seen]


def _weighted(model: Any, adapter: str | None) -> Any:
    """The model with trained weights."""
    if adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter)


class _Watched:
    """A predictor that remembers its answers."""

    def __init__(self, predictor: Any) -> None:
        self.predictor = predictor
        self.answers: list[Any] = []

    def __call__(self, model: Any, prompts: Sequence[Any], **options: Any) -> Any:
        answers = self.predictor(model, prompts, **options)
        self.answers += answers
        return answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self.predictor, name)


class _Steps:
    """Seconds, tokens and loss of every step, all that goes on between two steps counted.

    The loop has waited for the device when it tells of a step.
    """

    def __init__(self, result: Any) -> None:
        self.steps: list[dict[str, float]] = []
        self.result = result
        self._last = 0.0
        self._units = 0

    def begin(self) -> None:
        self._last = time.perf_counter()

    def __call__(self, progress: Any) -> None:
        now = time.perf_counter()
        tokens = self.result.num_units - self._units
        self.steps.append({"seconds": now - self._last, "loss": progress.loss, "tokens": tokens})
        self._units, self._last = self.result.num_units, time.perf_counter()


def _stage_watch() -> Any:
    """A listener that adds up the seconds of every stage of every run."""
    from peftscope.execution.events import Listener

    class Watch(Listener):
        """Told by the launcher; the last stage of a run ends with its record."""

        def __init__(self) -> None:
            self.rows: list[dict[str, Any]] = []
            self._stage, self._since = "start", 0.0

        def started(self, run: Any, state: Any) -> None:
            self.rows.append({"run": run.title, "stages": {}})
            self._stage, self._since = "start", time.perf_counter()

        def moved(self, run: Any, state: Any) -> None:
            if state.stage != self._stage:
                self._book(state.stage)

        def ended(self, run: Any, record: Any) -> None:
            self._book("")

        def _book(self, stage: str) -> None:
            now, row = time.perf_counter(), self.rows[-1]["stages"]
            row[self._stage] = row.get(self._stage, 0.0) + now - self._since
            self._stage, self._since = stage, now

    return Watch()


WORK = {work.__name__: work for work in (facts, train, score, grade, harness, stages, study)}


def main() -> None:
    """Do the work of a file and write what came of it."""
    job = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    os.environ["OMP_NUM_THREADS"] = str(job["threads"])  # before torch is imported
    import torch

    torch.set_num_threads(job["threads"])
    result = WORK[sys.argv[1]](job)
    Path(sys.argv[3]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
