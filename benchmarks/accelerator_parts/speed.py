"""peftscope against the plain loop on the model with random weights: the ratios of ``speed.py`` for a larger model."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from speed_parts.bench import METHODS, Sizes
from speed_parts.compared import answer_differences, loss_difference, rate
from speed_parts.memory import counted
from speed_parts.scoring import our_answers, plain_answers
from speed_parts.training import settings

from peftscope.capture import capture
from peftscope.execution.executors.forking import warm_up

from .desk import Desk, Notes, Row
from .ready_bench import ReadyBench

__all__ = ["Compared", "compare_scoring", "compare_training", "sizes_of", "speed", "task_of"]

AGREES = {"float32": 1e-4, "bfloat16": 0.02}
"""How far losses on the same batches may differ, as a share, by the dtype of the weights."""
TRAIN_ROWS = 96
ROUNDS = 2
"""Of answering the prompts: in the first of them an accelerator's kernels are loaded."""
BASE = "base"


@dataclass(kw_only=True)
class Compared:
    """What the comparisons share."""

    desk: Desk
    notes: Notes
    bench: ReadyBench
    task: dict[str, Any]
    facts: dict[str, Any]
    measured: dict[tuple[str, str], Row] = field(default_factory=dict)
    """Rows with measured memory, by method and memory setting."""

    @property
    def adapter(self) -> Path:
        """Folder of the weights the plain loop has trained, which both sides score."""
        return self.desk.folder / "speed-adapter"


def speed(desk: Desk, notes: Notes) -> None:
    """Training, its memory and scoring in turns against the plain loop, and what else a run does."""
    methods = desk.sizes.speed_methods
    task = task_of(desk)
    with _bench(desk, sizes_of(desk, task)) as bench, _pool(len(methods)) as pool:
        bench.stand_by(plain=len(methods) + 1, peftscope=len(methods) + 3)
        plans = {name: pool.submit(_planned, desk.model, desk.sizes, name) for name in methods}
        facts = bench.facts(task, methods)
        bench.wait()
        if desk.device == "cpu":  # there predicting would take cores from what is measured
            wait(plans.values())
        _each(Compared(desk=desk, notes=notes, bench=bench, task=task, facts=facts), plans)


def _each(compared: Compared, plans: dict[str, Future[Any]]) -> None:
    """One comparison after the other; what fails costs itself alone."""
    first, *others = compared.desk.sizes.speed_methods
    steps = [
        (f"training {first}", partial(compare_training, compared, first, scores=True)),
        *((f"training {name}", partial(compare_training, compared, name)) for name in others),
        (f"scoring {BASE}", partial(compare_scoring, compared, BASE)),
        ("prediction", partial(_add_plans, compared, plans)),
        ("a short run", partial(_short_run, compared)),
    ]
    for title, step in steps:
        failure = capture(step)
        compared.notes.check(failure is None, f"{title}: {failure.reason if failure else ''}")


def compare_training(compared: Compared, name: str, *, scores: bool = False) -> None:
    """Tokens a second, losses on the same batches and peaks; with ``scores`` the trained weights answer prompts."""
    bench, notes, facts = compared.bench, compared.notes, compared.facts
    first, timed = compared.desk.sizes.speed_steps
    method = facts["methods"][name]
    same = {"batch_size": bench.sizes.batch_size, "learning_rate": method["learning_rate"], "steps": first + timed}
    job = {**same, "model": facts["folder"], "peft": method["peft"], "rows": facts["rows"]}
    job["batches"] = facts["batches"][: first + timed]
    if scores:
        job |= {**_answering(compared), "save": str(compared.adapter)}
    plain = bench.plain(**job)
    plain_rate = rate(plain["steps"], skip=first)
    plain_row: Row = {"run": f"training {name}, plain loop", "tokens/s": plain_rate}
    notes.add(plain_row)
    turn = compared.desk.sizes.speed_methods.index(name) % len(settings())
    order = (*settings()[turn:], *settings()[:turn])
    own = {"title": name, "method": METHODS[name], "settings": order, "memory": True}
    ours = bench.peftscope("train", model=bench.sizes.model, task=compared.task, **own, **same)
    taken = {s: found["peak_bytes"] - found["base_bytes"] for s, found in ours["memory"].items()}
    for setting in settings():
        faster, off = rate(ours[setting], skip=first), loss_difference(plain["steps"], ours[setting])
        row = {
            "run": f"training {name}, {setting}",
            "tokens/s": faster,
            "times as fast": faster / plain_rate,
            "losses differ by %": 100 * off,
            "above the base MB": taken[setting] / 1e6,
            "of plain's": taken[setting] / taken["plain"],
        }
        notes.add(row)
        compared.measured[name, setting] = row
        most = AGREES[compared.desk.sizes.dtype]
        notes.check(off <= most, f"training {name}, {setting}: losses differ from the plain loop's by {off:.2%}")
    if "peak_bytes" in plain:
        above = plain["peak_bytes"] - ours["memory"]["plain"]["base_bytes"]
        plain_row |= {"above the base MB": above / 1e6, "of plain's": above / taken["plain"]}
    if scores:
        compare_scoring(compared, name, plain)


def _answering(compared: Compared) -> dict[str, Any]:
    """Of a job of the plain loop: prompts, and how they are answered."""
    return {
        "prompts": compared.facts["prompts"]["test"],
        "max_new_tokens": compared.task["max_new_tokens"],
        "eval_batch_size": compared.bench.sizes.eval_batch_size,
        "end_ids": compared.facts["end_ids"],
        "rounds": ROUNDS,
    }


def compare_scoring(compared: Compared, name: str, plain: dict[str, Any] | None = None) -> None:
    """Seconds of both sides for the same prompts with the same weights; ``plain`` where that side has answered."""
    bench, notes, facts = compared.bench, compared.notes, compared.facts
    weights = {
        "model": facts["folder"],
        "source": bench.sizes.model,
        "adapter": None if name == BASE else str(compared.adapter),
    }
    asked = _answering(compared)
    plain = plain or plain_answers(bench, facts, weights, **asked)
    answers, seconds = plain["answers"], plain["score_s"]
    notes.add({"run": f"scoring {name}, plain loop", "s": seconds, "tokens": sum(map(len, answers))})
    asked["batch_size"] = asked.pop("eval_batch_size")
    ours = our_answers(bench, compared.task, weights, **asked)
    differences = answer_differences(answers, ours["answers"], _decoder(facts["folder"]))
    lost = sum(len(answers[d.row]) - d.place for d in differences)
    notes.add(
        {
            "run": f"scoring {name}, peftscope",
            "s": ours["score_s"],
            "tokens": sum(answer["num_tokens"] for answer in ours["answers"]),
            "times as fast": seconds / ours["score_s"],
            "answers": len(answers),
            "same answers": len(answers) - len(differences),
            "same tokens %": 100 * (1 - lost / sum(map(len, answers))),
            "decoded": ours["way"],
        }
    )


def _decoder(folder: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return partial(tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _planned(model: Path, sizes: Any, name: str) -> dict[str, dict[str, int]]:
    """Predicted memory of a method in every setting, in a process of its own."""
    import torch

    from peftscope.models.kinds.registry import profile_of
    from peftscope.schema.study import ModelSpec

    profile = profile_of(ModelSpec(source=str(model), kind="causal-lm"), getattr(torch, sizes.dtype))
    return counted(METHODS[name], profile, sizes.batch_size, sizes.length)


def _add_plans(compared: Compared, plans: dict[str, Future[Any]]) -> None:
    """What was predicted, into the rows of what was measured."""
    for (name, setting), row in compared.measured.items():
        row["predicted MB"] = plans[name].result()[setting]["live_above_base_bytes"] / 1e6


def _short_run(compared: Compared) -> None:
    """What of a short run of a study is neither training nor scoring."""
    desk, notes = compared.desk, compared.notes
    name = desk.sizes.speed_methods[0]
    study = desk.study(
        "speed",
        model={"source": str(desk.model), "dtype": desk.sizes.dtype},
        methods=[METHODS[name]],
        include_base=False,
        train={"batch_size": desk.sizes.batch_size, "memory": "fast"},
    )
    study["task"] = {**compared.task, "general_tokens": desk.sizes.general_tokens}
    for record in notes.check_ok(desk.compare(study)):
        whole, train, score = (record.metrics[f"{what}_time_s"] or 0.0 for what in ("total", "train", "eval"))
        row = {"run": f"a run of {desk.sizes.demo_steps} steps, {name}", "s": whole, "steps s": train}
        notes.add({**row, "scoring s": score, "rest %": 100 * (1 - (train + score) / whole)})


@contextmanager
def _bench(desk: Desk, sizes: Sizes) -> Iterator[ReadyBench]:
    bench = ReadyBench(
        sizes=sizes,
        folder=desk.folder / "speed",
        threads=min(os.cpu_count() or 1, 8),
        device=desk.device,
        dtype=desk.sizes.dtype,
    )
    try:
        yield bench
    finally:
        bench.close()


@contextmanager
def _pool(num_processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that predict; nobody waits for them at the end."""
    pool = ProcessPoolExecutor(num_processes, mp_context=warm_up())
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def sizes_of(desk: Desk, task: dict[str, Any]) -> Sizes:
    """The check's sizes as ``speed.py`` has them."""
    return Sizes(
        model=str(desk.model),
        task=task,
        study_task={},
        study_steps=0,
        study_methods=(),
        batch_size=desk.sizes.batch_size,
        eval_batch_size=desk.sizes.speed_prompts[1],
    )


def task_of(desk: Desk) -> dict[str, Any]:
    """Problems of numbers: questions of up to a third of the longest row, and answers."""
    sizes, draw = desk.sizes, random.Random(0)
    longest, count = sizes.length, sizes.speed_prompts[0]
    rows = []
    for _ in range(TRAIN_ROWS + 4 + count):
        question = draw.randint(longest // 8, longest // 3)
        whole = draw.randint(longest // 2, longest + longest // 8)  # some are too long and cut
        rows.append({"question": _numbers(draw, question), "answer": _numbers(draw, whole - question)})
    path = desk.folder / "speed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {
        "name": "math",
        "source": "files",
        "train": str(path),
        "query_template": "Question: {query}\nAnswer:",
        "valid_size": 4,
        "test_size": count,
        "max_length": longest,
        "max_new_tokens": sizes.new_tokens,
        "eval_batch_size": sizes.speed_prompts[1],
        "chat_template": "none",
        "long_prompts": "drop",
        "general_tokens": 0,
    }


def _numbers(draw: random.Random, count: int) -> str:
    return " ".join(str(draw.randint(1, 30)) for _ in range(count))
