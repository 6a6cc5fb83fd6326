"""The parts of the check. Each notes rows and problems as it goes on; what it raises is its failure."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from peftscope.errors import MissingExtra
from peftscope.schema.record import RunRecord
from peftscope.store.run_states import read_states

from . import random_model
from .desk import Desk, Notes
from .figures import note_peaks, scaled, step_time
from .images import images, start_images
from .speed import speed

__all__ = ["PARTS", "prepare"]

AGREES = 0.02
"""Nats by which forgetting, drift and losses may differ from the CPU's after a few steps in float32."""
PATIENCE_S = 60.0
CROWD = ("full", "lora")
"""Of a device that another process fills: the first does not fit into what is left, the second does."""
HOLD = """
import sys, torch
free = torch.cuda.mem_get_info()[0] if sys.argv[1] == "cuda" else torch.accelerator.get_memory_info()[0]
held = torch.empty(max(0, free - int(sys.argv[2])), dtype=torch.uint8, device=sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""
"""Takes an accelerator's memory but for so many bytes, until its input ends."""


def prepare(desk: Desk, notes: Notes) -> None:
    """Make the model with random weights, measure the rate, and begin to predict."""
    sizes = desk.sizes
    random_model.write_config(desk.model, sizes.shapes)
    command = [sys.executable, random_model.__file__, str(desk.model), desk.device, sizes.dtype, str(sizes.matrix)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=sizes.limits_s["model"])
    assert done.returncode == 0, done.stderr[-500:]
    told = json.loads(done.stdout.splitlines()[-1])
    desk.matrix_rate, desk.environment = told["matrix_rate"], told["environment"]
    notes.add({"what": f"{sizes.dtype} matrix product, side {sizes.matrix}", "TFLOP/s": desk.matrix_rate / 1e12})
    for quantization in ("nf4", "int8") if "quantized" in desk.parts else ():
        desk.start_plan(quantization, "--quantization", quantization, methods=sizes.methods[:1])
    if "recovery" in desk.parts:
        desk.start_plan("crowded", methods=CROWD)
    if "memory" in desk.parts:
        desk.start_plan("plain")
        desk.start_plan("checkpointed", "--checkpointing", methods=sizes.checkpointed_methods)
    if "images" in desk.parts:
        start_images(desk)
    desk.folder.joinpath("long.jsonl").write_text(_rows(sizes.length, sizes.length), encoding="utf-8")
    desk.folder.joinpath("mixed.jsonl").write_text(_rows(sizes.length // 8, sizes.length), encoding="utf-8")


def _rows(least: int, most: int) -> str:
    """Rows of so many words at least, each a token or more."""
    draw = random.Random(0)
    lengths = [draw.randint(least, most) + 8 for _ in range(96)]
    words = [" ".join(str(draw.randint(1, 30)) for _ in range(length)) for length in lengths]
    return "".join(json.dumps({"text": text}) + "\n" for text in words)


def demo(desk: Desk, notes: Notes) -> None:
    """The demo's study, short: in float32, with autocast, in bfloat16."""
    ways: tuple[tuple[str, str, bool], ...] = (
        ("float32", "float32", False), ("float32, autocast", "float32", True), ("bfloat16", "bfloat16", False),
    )  # fmt: skip
    for label, dtype, autocast in ways:
        study = desk.study(
            f"demo-{dtype}{'-autocast' if autocast else ''}",
            model={"dtype": dtype},
            methods=list(desk.sizes.demo_methods[: None if dtype == "float32" and not autocast else 1]),
            include_base=dtype == "float32" and not autocast,
            train={"autocast": autocast},
        )
        for record in notes.check_ok(_timed(desk, notes, study, label)):
            found = record.metrics
            notes.add(
                {
                    "run": f"{record.spec.method.title}, {label}",
                    "train loss": found["train_loss"],
                    "test loss": found["test_loss"],
                    "train s": found["train_time_s"],
                    "score s": found["eval_time_s"],
                    "in all s": found["total_time_s"],
                    "train MB": scaled(found["peak_train_memory_bytes"], 1e6),
                }
            )


def _timed(desk: Desk, notes: Notes, study: Mapping[str, Any], label: str) -> list[RunRecord]:
    """A comparison, and how long a user waits for it beside what its runs count."""
    started = time.perf_counter()
    records = desk.compare(study)
    seconds = time.perf_counter() - started
    row = {"run": f"{len(records)} run{'s' if len(records) > 1 else ''}, {label}", "in all s": seconds}
    notes.add({**row, "of it in runs s": sum(record.metrics.get("total_time_s") or 0.0 for record in records)})
    return records


def memory(desk: Desk, notes: Notes) -> None:
    """Peaks and throughput of several methods on the larger model, plain and checkpointed, against the prediction."""
    for name in ("plain", "checkpointed"):
        planned = desk.plan(name)
        study = _large(desk, name, methods=list(planned), train={"checkpointing": name == "checkpointed"})
        for record in notes.check_ok(_timed(desk, notes, study, name)):
            _against_plan(desk, notes, record, planned[record.spec.method.title], name)
        if name == "plain":
            mixed = _large(desk, "mixed", methods=list(desk.sizes.methods[:1]), file="mixed.jsonl")
            for record in notes.check_ok(desk.compare(mixed)):
                _against_plan(desk, notes, record, planned[record.spec.method.title], "mixed lengths")


def _large(desk: Desk, name: str, *, file: str = "long.jsonl", **parts: Any) -> dict[str, Any]:
    sizes = desk.sizes
    model = {"source": str(desk.model), "device": desk.device, "dtype": sizes.dtype, **parts.pop("model", {})}
    train = {"max_steps": sizes.steps, "batch_size": sizes.batch_size}
    study = desk.study(
        f"large-{name}",
        model=model,
        methods=parts.pop("methods", list(sizes.methods)),
        include_base=False,
        train={**train, **parts.pop("train", {})},
        **parts,
    )
    task = {"name": "own-data", "train": str(desk.folder / file), "prompt": "", "target": "text", "metric": "loss"}
    return {**study, "task": {**task, "valid_size": 4, "test_size": 4, "max_length": sizes.length, "general_tokens": 0}}


def _against_plan(desk: Desk, notes: Notes, record: RunRecord, planned: Mapping[str, Any], how: str) -> None:
    found = record.metrics
    title = f"{record.spec.method.title}, {how}"
    notes.check(planned["live_train_bytes"] is not None, f"{title}: no prediction: {str(planned['reason'])[:200]}")
    predicted = {"allocated": planned["live_train_bytes"], "reserved": planned["peak_train_bytes"]}
    measured = {"allocated": found["peak_train_memory_bytes"], "reserved": found["peak_train_reserved_bytes"]}
    step_s = step_time(record)
    tokens = desk.sizes.batch_size * desk.sizes.length
    flops = planned["flops_per_step"]
    same = how != "mixed lengths"  # the others' steps are all of one size
    share = flops / step_s / desk.matrix_rate if same and flops and step_s and desk.matrix_rate else None
    others = {
        "tokens/s": tokens / step_s if same and step_s else None,
        "share of the rate %": scaled(share, 0.01),
        "in all s": found["total_time_s"],
    }
    note_peaks(notes, title, predicted, measured, others)


def quantized(desk: Desk, notes: Notes) -> None:
    """Training on a base in NF4 and in int8."""
    for kind in ("nf4", "int8"):
        model = {"quantization": kind}
        try:
            records = desk.compare(_large(desk, kind, model=model, methods=list(desk.sizes.methods[:1])))
        except MissingExtra as missing:
            notes.add({"run": kind, "said": str(missing)})
            continue
        planned = desk.plan(kind)
        for record in notes.check_ok(records):
            _against_plan(desk, notes, record, planned[record.spec.method.title], kind)


def scoring(desk: Desk, notes: Notes) -> None:
    """Throughput of answering, at several batch sizes, of the base and of an adapter on it."""
    sizes = desk.sizes
    for batch in sizes.scoring_batches:
        count = max(batch, 32) if desk.device != "cpu" else batch
        study = desk.study(
            f"scoring-{batch}",
            model={"source": str(desk.model), "dtype": sizes.dtype},
            include_base=batch == sizes.scoring_batches[-1],
            task={"test_size": count, "valid_size": 4, "max_new_tokens": sizes.new_tokens, "eval_batch_size": batch},
            train={"max_steps": 1},
        )
        for record in notes.check_ok(desk.compare(study)):
            seconds, cut = record.metrics["eval_time_s"], record.metrics["truncated_share"]
            full = seconds is not None and cut is not None and cut >= 0.95  # answers as long as they may be
            notes.add(
                {
                    "run": f"{record.spec.method.title}, batch {batch}",
                    "answers": count,
                    "s": seconds,
                    "new tokens/s": count * sizes.new_tokens / seconds if full and seconds else None,
                    "allocated MB": scaled(record.metrics["peak_eval_memory_bytes"], 1e6),
                    "reserved MB": scaled(record.metrics["peak_eval_reserved_bytes"], 1e6),
                }
            )


def recovery(desk: Desk, notes: Notes) -> None:
    """Out of memory, killed and gone on with, two workers on one device."""
    _out_of_memory(desk, notes)
    methods = list(desk.sizes.killed_methods)
    study = desk.study("killed", methods=methods, include_base=False, train={"max_steps": desk.sizes.killed_steps})
    _killed(desk, notes, study)
    resumed = notes.check_ok(desk.compare(study))
    attempts = [[attempt.status for attempt in record.attempts] for record in resumed]
    notes.check(any("killed" in each for each in attempts), f"the killed run's attempt is not in a record: {attempts}")
    notes.add({"what": "killed and called again", "ok": len(resumed), "of": len(methods)})
    started = time.perf_counter()
    together = desk.compare({**study, "name": "together"}, "--workers", "2", "--threads", "1")
    seconds = time.perf_counter() - started
    notes.check_ok(together)
    alone = {record.run_id: record.metrics["train_loss"] for record in resumed}
    same = sum(alone.get(record.run_id) == record.metrics.get("train_loss") for record in together)
    row = {"what": "two workers on one device", "ok": sum(r.status == "ok" for r in together), "of": len(methods)}
    notes.add({**row, "s": seconds, "losses as alone": same})


def _killed(desk: Desk, notes: Notes, study: Mapping[str, Any]) -> None:
    """Kill a comparison while its first run trains."""
    out = desk.out(study)
    command = [sys.executable, "-m", "peftscope", "compare", str(desk.file(study)), "--out", str(out), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline and process.poll() is None:
            if any((state.step or 0) > 0 for state in read_states(out)):
                break
            time.sleep(0.05)
        notes.check(process.poll() is None, "the comparison that was to be killed had ended by itself")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _out_of_memory(desk: Desk, notes: Notes) -> None:
    """One method does not fit beside what another process holds; the next one does."""
    if desk.device == "cpu":
        vast = {"name": "lora", "label": "vast", "knobs": {"r": 10**9}}
        study = desk.study("oom", methods=[vast, "ia3"], include_base=False)
        records = desk.compare(study, "--try-all")
    else:
        planned = desk.plan("crowded")
        needs = [planned[name]["peak_train_bytes"] for name in CROWD]
        assert all(needs), f"no prediction: {[str(planned[name]['reason'])[:200] for name in CROWD]}"
        free = int(sum(needs) / 2) + desk.sizes.process_bytes
        command = [sys.executable, "-c", HOLD, desk.device, str(free)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            records = desk.compare(_large(desk, "oom", methods=list(CROWD)), "--try-all")
        finally:
            holder.kill()
            holder.communicate()
    statuses = [record.status for record in records]
    reason = next((record.reason for record in records if record.status == "oom"), None)
    notes.check(sorted(statuses) == ["ok", "oom"], f"out of memory: {[(r.status, r.reason) for r in records]}")
    notes.add({"what": "out of memory", "ok": statuses.count("ok"), "of": len(records), "said": (reason or "")[:90]})


def repeat(desk: Desk, notes: Notes) -> None:
    """The same run again: what is the same bit for bit."""
    for name in ("demo-float32", "demo-bfloat16", "large-plain"):
        folder = desk.folder / "results" / name
        found = sorted((folder / "records").glob("[!.]*.json"))
        records = [RunRecord.model_validate_json(path.read_bytes()) for path in found]
        record = next((r for r in records if r.spec.method.title == "lora" and r.status == "ok"), None)
        if record is None:
            notes.problems.append(f"{name}: there is no run to repeat")
            continue
        told = json.loads(desk.command("rerun", record.run_id, "--study", str(folder), "--json", "--quiet")[1])
        notes.add(
            {
                "run": f"lora, {name}",
                "losses": told["num_losses"],
                "all the same": "yes" if told["same_losses"] else "no",
                "other figures that differ": len(told["deviations"]),
                "first": (told["deviations"] or ["–"])[0][:100],
            }
        )


def cpu(desk: Desk, notes: Notes) -> None:
    """Forgetting, drift and losses of the same weights and a short training in float32, against the CPU's; latency."""
    found: dict[str, dict[str, RunRecord]] = {}
    for device in dict.fromkeys((desk.device, "cpu")):
        study = desk.study(
            f"retention-{device}",
            model={"device": device},
            train={"max_steps": 5},
            task={"general_tokens": desk.sizes.general_tokens},
            measure={"latency": True},
        )
        found[device] = {r.spec.method.title: r for r in notes.check_ok(desk.compare(study))}
    here, there = found[desk.device], found["cpu"]
    for method in sorted(set(here) & set(there)):
        for name in ("general_loss", "forgetting", "drift", "test_loss"):
            ours, theirs = here[method].metrics.get(name), there[method].metrics.get(name)
            gap = None if ours is None or theirs is None else ours - theirs
            notes.add({"run": method, "figure": name, "here": ours, "CPU": theirs, "difference": gap})
            notes.check(gap is not None and abs(gap) <= AGREES, f"{method}: {name} is {ours}, the CPU's {theirs}")
        for name in ("decode_latency_adapter_b1_s", "decode_latency_merged_b1_s", "decode_latency_adapter_b8_s"):
            ours, theirs = (scaled(each[method].metrics.get(name), 1e-3) for each in (here, there))
            notes.add({"run": method, "figure": name.removesuffix("_s") + "_ms", "here": ours, "CPU": theirs})


PARTS: dict[str, tuple[str, Callable[[Desk, Notes], None]]] = {
    "model": ("A model with random weights; the matrix rate", prepare),
    "demo": ("The demo's study, short", demo),
    "memory": ("Peaks and throughput against `plan`", memory),
    "quantized": ("NF4 and int8", quantized),
    "scoring": ("Throughput of scoring", scoring),
    "speed": ("Against the plain loop", speed),
    "recovery": ("Out of memory, killed, two workers", recovery),
    "repeat": ("The same run twice", repeat),
    "cpu": ("Against the CPU", cpu),
    "images": ("An image model against `plan`", images),
}
"""Name -> what it is, and what does it, in their order."""
