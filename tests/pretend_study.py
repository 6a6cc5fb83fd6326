"""A study's folder as a whole study leaves it, tuning and failures included, made up in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from peftscope.execution.history import remember_study
from peftscope.methods.catalog import BASE
from peftscope.schema.metric import MetricSpec
from peftscope.schema.protocol import Protocol
from peftscope.schema.record import CurvePoint, ExampleOutcome, MethodFacts, RunRecord
from peftscope.schema.study import StudySpec
from peftscope.store.files import write_record
from peftscope.store.race import keeper_of_looks
from peftscope.tuning.job import Job
from peftscope.tuning.progress import replay
from peftscope.tuning.racing import RaceHistory
from peftscope.tuning.scheduler import scheduler_for
from pretend import a_record

__all__ = ["ACCURACY", "make_study"]

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="all problems of the split")
MEMORY = {"lora": 1.07e9, "rslora": 1.19e9, "ia3": 1.04e9, "ln-tuning": 0.906e9, "oft": 1.05e9, "dora": 1.3e9}
FILES = {"lora": 39_100_000, "rslora": 78_200_000, "ia3": 762_000, "ln-tuning": 149_000, "oft": 9_310_000}


def make_study(
    folder: Path,
    shares: Mapping[str, float],
    *,
    study: Mapping[str, Any] | None = None,
    num_examples: int = 400,
    broken: Mapping[str, str] | None = None,
    protocols: Mapping[str, str] | None = None,
    num_outputs: int = 0,
    dear: Mapping[str, float] | None = None,
) -> StudySpec:
    """Write the records of a study in which each method gets its share of the test examples right.

    Args:
        folder: The study's folder.
        shares: Method -> share of right answers; the base is one of them where it is scored. Of several learning
            rates the first has this share, each further one 5 points less.
        study: Fields of the study that differ from three seeds without tuning.
        num_examples: Of the test split.
        broken: Method -> status its last seed's final run ends with; ``trials`` for one whose trials all diverge.
        protocols: Method -> word that makes its conditions others than those of the rest.
        num_outputs: Test examples whose answers are kept, with what was asked.
        dear: Method -> factor by which everything that its training takes is more than usual.
    """
    fields: dict[str, Any] = {
        "name": folder.name, "model": "m", "task": "math", "include_base": BASE in shares,
        "methods": [name for name in shares if name != BASE], **(study or {}),
    }  # fmt: skip
    spec = StudySpec.model_validate(fields)

    def done(job: Job) -> RunRecord:
        record = _record(job, spec, shares, num_examples, broken or {}, protocols or {})
        if dear:
            record = _dearer(record, dear.get(job.run.method.title, 1.0))
        if num_outputs:
            answered = [_answered(e) if i < num_outputs else e for i, e in enumerate(record.examples)]
            record = record.model_copy(update={"examples": tuple(answered)})
        write_record(folder, record)
        return record

    replay(scheduler_for(spec, history=RaceHistory(keep=keeper_of_looks(folder))), done)
    remember_study(folder, spec)
    return spec


def _dearer(record: RunRecord, factor: float) -> RunRecord:
    """The same at a factor of a usual price, with times that scatter a little."""
    if record.spec.purpose == "trial" or record.status != "ok" or record.spec.method.name == BASE:
        return record
    luck = 1.0 + 0.01 * np.random.default_rng([record.spec.seed, *record.run_id.encode()]).standard_normal()
    prices = {"peak_train_memory_bytes": 1e9, "checkpoint_bytes": 4e7, "train_time_s": 50.0 * luck}
    dearer = {**record.metrics, **{name: factor * price for name, price in prices.items()}, "forgetting": 0.02}
    return record.model_copy(update={"metrics": dearer})


def _answered(example: ExampleOutcome) -> ExampleOutcome:
    number = int(example.example_id[1:])
    right = str(2 * number)
    output = right if example.score else f"{number} <b>perhaps</b>"
    return replace(example, prompt=f"What is {number} + {number}?\nAnswer:", target=right, output=output)


def _record(
    job: Job,
    study: StudySpec,
    shares: Mapping[str, float],
    num_examples: int,
    broken: Mapping[str, str],
    protocols: Mapping[str, str],
) -> RunRecord:
    run, title = job.run, job.run.method.title
    number = list(shares).index(title)
    protocol = Protocol(quality={"weights": protocols.get(title, "those of all")}, cost={"cpu": "EPYC"})
    known: dict[str, Any] = {
        "metric": ACCURACY, "protocol": protocol, "quality_protocol": protocol.quality_hash,
        "cost_protocol": protocol.cost_hash,
        "method_facts": MethodFacts(
            tuner_class="T", adapted_modules=tuple(f"layers.{i}.{n}_proj" for i in range(2) for n in "qv"),
            peft_config=dict(run.method.knobs),
            learning_rate_source=None if run.learning_rate is None else "given with the study",
        ),
    }  # fmt: skip
    if broken.get(title) == "trials" and run.purpose == "trial":
        return a_record(run, "diverged", reason="the loss became infinite", **known)
    if run.purpose == "trial":
        loss = 1.0 + abs(np.log10((run.learning_rate or 1.0) / 3e-4)) + number / 100
        points = [
            CurvePoint(step=s, learning_rate=1e-4, train_loss=loss, valid_loss=loss, train_time_s=1.0)
            for s in run.rungs
            if job.until is None or s <= job.until
        ]
        status = "ok" if job.until is None else "eliminated"
        steps = run.train.max_steps if job.until is None else job.until
        metrics: dict[str, Any] = {"num_steps": steps, "train_time_s": 10.0, "valid_loss": loss}
        metrics |= {"valid_score": 1.0 / loss} if status == "ok" else {}
        return a_record(run, status, metrics=metrics, curve=tuple(points), **known)
    if broken.get(title) and run.seed == study.seeds[-1]:
        return a_record(run, broken[title], reason="CUDA out of memory", **known)
    rates = next((m.learning_rates for m in study.methods if m.title == title), None) or (run.learning_rate,)
    right = _answers(shares[title] - 0.05 * rates.index(run.learning_rate), number, run.seed, num_examples)
    metrics = {"test_score": float(right.mean()), "peak_eval_memory_bytes": 600_000_000}
    if title != BASE:
        metrics |= {
            "peak_train_memory_bytes": int(MEMORY.get(title, 1.2e9)) + run.seed,
            "checkpoint_bytes": FILES.get(title, 40_000_000),
            "train_time_s": 50.0 + number,
            "num_steps": run.train.max_steps,
            "forgetting": 0.02 * number,
            "num_trainable_params": 100_000 * (number + 1),
        }
    examples = tuple(ExampleOutcome(example_id=f"e{i}", score=float(x)) for i, x in enumerate(right))
    return a_record(run, metrics=metrics, examples=examples, **known)


def _answers(share: float, number: int, seed: int, num_examples: int) -> Any:
    """Right or wrong; what makes an example hard is shared by all, as in life."""
    shared = np.random.default_rng(7).standard_normal(num_examples)
    own = np.random.default_rng([number, seed]).standard_normal(num_examples)
    latent = 0.8 * shared + 0.6 * own
    return latent <= np.quantile(latent, share)
