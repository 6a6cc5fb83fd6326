"""Losses over the learning rate, measured: which rate suits which method on which base.

    .venv/bin/python benchmarks/learning_rates.py measure --cpu 2 grid sweep         # goes on with what is missing
    .venv/bin/python benchmarks/learning_rates.py table

Parts: ``sweep`` trains every method on ``builtin:nano-lm`` with one seed, at whole steps (a factor of 3.2) in both
directions until the best full-length validation loss has a worse neighbour on both sides. ``grid`` trains the demo's
eight methods at eight half steps with four seeds, and scores the test split, too. ``widths`` sweeps twelve methods on
nano-lm pretrained at other widths (folders ``--base NAME=FOLDER``), ``smollm2`` on SmolLM2-135M, 60 steps.

Everything is trained by the product itself, as the demo is. Results lie in ``benchmarks/learning_rates/*.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "learning_rates"
DEMO = HERE.parent / "studies" / "demo.yaml"
TWELVE = ("lora", "rslora", "dora", "oft", "miss", "lily", "ia3", "ln-tuning", "vera", "adalora", "boft", "pissa")
SEED, GRID_SEEDS = 1000, (0, 1, 2, 3)
LIMIT_S = 600
"""Seconds a training may take."""
MOST = 7
"""Rates of a sweep."""
SHORT_STEPS = 60
INTRODUCTION = """
# Which learning rate suits which method

Written by `benchmarks/learning_rates.py table` from `learning_rates/*.jsonl`: the demo's training (120 steps of batch
8), validation loss at the end, one seed, rates a factor of 3.2 apart; the best by a parabola through three losses in
the logarithm of the rate. `>` and `<`: the best was the highest or the lowest that was tried, it lies there or beyond.
nano-lm at widths 128 and 512 was pretrained by `scripts/pretrain_nano_lm.py --width`. Measured on one NVIDIA H200 (14
trainings at once, float32) in nine minutes, which was not enough for all, and for the demo's eight methods to the end
on two CPU cores: open sides are work left, not findings. SmolLM2-135M was not measured.
"""


@dataclass(frozen=True, kw_only=True)
class AssignedJob:
    """One training."""

    part: str
    base: str
    """Name of the base in the results."""
    source: str
    method: str
    index: int
    """Of the learning rate on the lattice, four to a decade."""
    seed: int
    steps: int | None = None
    test: bool = False
    device: str = "cpu"

    @property
    def key(self) -> str:
        return f"{self.part}/{self.base}/{self.method}/{self.index}/{self.seed}"


def rate_of(index: int) -> float:
    return float(f"{10 ** (index / 4):.1e}")


def train(job: AssignedJob) -> dict[str, Any]:
    """Do one training and give its losses and scores."""
    import torch

    from peftscope.execution.execute import _Run
    from peftscope.measures.score import score_split
    from peftscope.models.kinds.causal_lm.generation import TextGenerator
    from peftscope.schema.reader import read_study
    from peftscope.schema.study import MethodSpec, ModelSpec
    from peftscope.study.vocabulary import vocabulary
    from peftscope.tasks import registry
    from peftscope.tasks.base import TaskContext
    from peftscope.tuning.expand import run_of

    torch.set_num_threads(1)
    study = read_study(DEMO, vocabulary())
    knobs = {"r": 32} if job.method == "rslora" else {}
    steps = job.steps or study.train.max_steps
    study = study.model_copy(
        update={
            "model": ModelSpec(source=job.source, device=job.device, dtype="float32"),
            "train": study.train.model_copy(update={"max_steps": steps}),
        }
    )
    spec = run_of(study, MethodSpec(name=job.method, knobs=knobs), rate_of(job.index), job.seed)
    spec = spec.model_copy(update={"purpose": "trial", "rungs": (steps // 5,)})
    found: dict[str, Any] = {
        "part": job.part, "base": job.base, "method": job.method, "rate": rate_of(job.index), "index": job.index,
        "seed": job.seed, "device": job.device,
    }  # fmt: skip
    started = time.perf_counter()

    def over(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, over)
    signal.alarm(LIMIT_S)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = _Run(spec, Path(folder), lambda stage, news: None, None, None)
            run.go()
        metrics = run.measured.metrics
        found |= {
            "status": "ok",
            "rung_loss": next((p.valid_loss for p in run.fit.curve if p.valid_loss is not None), None),
            "loss": metrics["valid_loss"],
            "score": metrics["valid_score"],
            "valid": "".join(str(int(e.score)) for e in run.measured.examples),
        }
        if job.test and run.built is not None and run.loaded is not None:
            task = registry.create(
                spec.task, TaskContext(processor=run.loaded.processor, batch_size=spec.train.batch_size)
            )
            generate = TextGenerator(run.loaded.processor, run.loaded.device, lambda *_: None)
            found["test"] = "".join(str(int(o.score)) for o in score_split(task, run.built.model, generate, "test"))
    except TimeoutError:
        found |= {"status": "timeout"}
    except Exception as error:  # noqa: BLE001  (a benchmark tells of a failure and goes on)
        found |= {"status": type(error).__name__, "reason": str(error)[:200]}
    finally:
        signal.alarm(0)
    return found | {"seconds": round(time.perf_counter() - started, 1)}


def loss_of(found: dict[str, Any] | None) -> float:
    loss = None if found is None else found.get("loss")
    return float(loss) if loss is not None and math.isfinite(loss) else math.inf


@dataclass
class Sweep:
    """One method on one base, until its best rate is inside what was tried."""

    part: str
    base: str
    source: str
    method: str
    start: int
    steps: int | None = None
    device: str = "cpu"
    asked: set[int] = field(default_factory=set)

    def jobs(self, known: dict[str, dict[str, Any]]) -> Iterator[AssignedJob]:
        """Trainings to make now."""
        while True:
            results = {i: known.get(self._job(i).key) for i in self.asked}
            if any(found is None for found in results.values()):
                return
            losses = {i: loss_of(found) for i, found in results.items()}
            new = self._next(losses)
            if not new:
                return
            self.asked |= set(new)
            yield from (self._job(i) for i in new if self._job(i).key not in known)

    def best(self, known: dict[str, dict[str, Any]]) -> int | None:
        """Index of the lowest loss where the sweep has ended, else None."""
        losses = {i: loss_of(known.get(self._job(i).key)) for i in self.asked}
        complete = all(self._job(i).key in known for i in self.asked) and not self._next(losses)
        return min(losses, key=lambda i: (losses[i], i)) if complete and self.asked else None

    def _next(self, losses: dict[int, float]) -> list[int]:
        if not losses:
            return [self.start - 2, self.start, self.start + 2]
        if len(losses) >= MOST:
            return []
        best = min(losses, key=lambda i: (losses[i], i))
        if best == min(losses):
            return [best - 2]
        return [best + 2] if best == max(losses) else []

    def _job(self, index: int) -> AssignedJob:
        return AssignedJob(
            part=self.part, base=self.base, source=self.source, method=self.method, index=index, seed=SEED,
            steps=self.steps, device=self.device,
        )  # fmt: skip


@dataclass
class Grid:
    """Eight half steps around the sweep's best, four seeds, extended where the best lies at an end."""

    sweep: Sweep
    asked: set[tuple[int, int]] = field(default_factory=set)

    def jobs(self, known: dict[str, dict[str, Any]]) -> Iterator[AssignedJob]:
        best = self.sweep.best(known)
        if best is None or self.asked:
            return
        for seed in GRID_SEEDS:
            for index in range(best - 4, best + 4):
                self.asked.add((index, seed))
                job = AssignedJob(
                    part="grid", base=self.sweep.base, source=self.sweep.source, method=self.sweep.method,
                    index=index, seed=seed, test=True, device=self.sweep.device,
                )  # fmt: skip
                if job.key not in known:
                    yield job


def plans(parts: Sequence[str], bases: dict[str, str], fast: str, only: Sequence[str]) -> list[Sweep | Grid]:
    """Sweeps and grids, the most important first."""
    from peftscope.methods.catalog import cards

    def start_of(method: str, shift: int) -> int:
        rate = cards()[method].rate
        assert rate is not None
        return round(4 * math.log10(rate.default)) + shift

    eight = [name for name in TWELVE[:8] if not only or name in only]
    every = [name for name, card in cards().items() if card.trains and (not only or name in only)]
    nano = {m: Sweep("sweep", "nano-lm 256", "builtin:nano-lm", m, start_of(m, 5), None, fast) for m in every}
    found: list[Sweep | Grid] = [nano[m] for m in eight if {"sweep", "grid"} & set(parts)]
    found += [Grid(nano[m]) for m in eight if "grid" in parts]
    if "smollm2" in parts:
        for m in TWELVE:
            if not only or m in only:
                source = bases.get("smollm2", "builtin:smollm2-135m")
                found.append(Sweep("smollm2", "SmolLM2 576", source, m, start_of(m, 3), SHORT_STEPS, fast))
    if "widths" in parts:
        for name, source in bases.items():
            if name != "smollm2":
                found += [
                    Sweep("widths", name, source, m, start_of(m, 5), None, fast)
                    for m in TWELVE
                    if not only or m in only
                ]
    if "sweep" in parts:
        found += [nano[m] for m in every if m not in eight]
    return found


def measure(settings: argparse.Namespace) -> None:
    """Train what is missing, results written as they come."""
    out: Path = settings.out
    out.mkdir(parents=True, exist_ok=True)
    known: dict[str, dict[str, Any]] = {}
    for path in [*RESULTS.glob("*.jsonl"), *out.glob("*.jsonl")]:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            known[f"{row['part']}/{row['base']}/{row['method']}/{row['index']}/{row['seed']}"] = row
    bases = dict(pair.split("=", 1) for pair in settings.base)
    fast = settings.fast
    todo = plans(settings.parts, bases, fast, settings.only)
    until = time.monotonic() + settings.limit_s
    pools = {"cpu": (settings.cpu, _pool(settings.cpu))}
    if fast != "cpu":
        pools[fast] = (settings.gpu, _pool(settings.gpu))
    waiting: list[tuple[int, AssignedJob]] = []
    running: dict[Future[dict[str, Any]], AssignedJob] = {}
    while time.monotonic() < until:
        for place, plan in enumerate(todo):
            waiting += [(place, job) for job in plan.jobs(known)]
        waiting.sort(key=lambda item: item[0])  # a sweep that has begun goes on before later ones begin
        for device, (size, pool) in pools.items():
            free = size - sum(job.device == device for job in running.values())
            ready = [item for item in waiting if item[1].device == device and _is_there(item[1])][:free]
            for item in ready:
                waiting.remove(item)
                running[pool.submit(train, item[1])] = item[1]
        if not running and not waiting:
            break
        done, _ = wait(running, timeout=2, return_when=FIRST_COMPLETED)
        for future in done:
            job = running.pop(future)
            row = future.result()
            known[job.key] = row
            name = job.part if job.part in ("grid", "sweep") else "bases"
            with (out / f"{name}.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(len(known), len(running), row["part"], row["base"], row["method"], row["rate"], row["seed"],
                  row["status"], row.get("loss"), row.get("score"), row["seconds"], flush=True)  # fmt: skip
    print("left:", len(waiting), "waiting,", len(running), "running", flush=True)
    for _, pool in pools.values():
        for process in list((pool._processes or {}).values()):
            process.kill()


def _is_there(job: AssignedJob) -> bool:
    """Whether the base exists by now; one that is being pretrained appears later."""
    return job.source.startswith("builtin:") or (Path(job.source) / "ready").exists() or job.source.endswith(".gguf")


def _pool(size: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max(1, size), mp_context=get_context("spawn"))


def rows_of(name: str) -> list[dict[str, Any]]:
    """Results of a part, the latest of a training last."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def optimum(losses: dict[int, float]) -> tuple[float, str]:
    """Best rate by a parabola through the losses around the lowest, and on which side it is open."""
    best = min(losses, key=lambda i: (losses[i], i))
    below, above = losses.get(best - 2), losses.get(best + 2)
    if below is None or above is None:
        return 10 ** (best / 4), "lower" if below is None else "higher"
    if not math.isfinite(below) or not math.isfinite(above):
        return 10 ** (best / 4), ""
    curvature = below + above - 2 * losses[best]
    shift = 0.0 if curvature <= 0 else max(-1.0, min(1.0, (below - above) / curvature))
    return 10 ** ((best + shift) / 4), ""


def table() -> str:
    """What was measured, as Markdown."""
    import numpy as np

    from peftscope.methods.catalog import cards

    by_base: dict[str, dict[str, dict[int, float]]] = {}
    for row in [*rows_of("sweep"), *rows_of("bases")]:
        if row["status"] != "timeout":
            by_base.setdefault(row["base"], {}).setdefault(row["method"], {})[row["index"]] = loss_of(row)
    best = {base: {m: optimum(losses) for m, losses in found.items()} for base, found in by_base.items()}
    parts = [INTRODUCTION.strip()]
    widths = {base: int(base.split()[-1]) for base in by_base}
    names = sorted({m for found in by_base.values() for m in found}, key=list(cards()).index)
    bases = sorted(by_base, key=lambda base: widths[base])
    parts.append("| method | " + " | ".join(bases) + " | card's default |\n| --- |" + " ---: |" * (len(bases) + 1))
    for name in names:
        cells = []
        for base in bases:
            rate, side = best[base].get(name, (math.nan, ""))
            cells.append("–" if math.isnan(rate) else f"{'> ' if side == 'higher' else '< ' if side else ''}{rate:.1e}")
        default = cards()[name].rate
        assert default is not None
        parts[-1] += f"\n| {name} | {' | '.join(cells)} | {default.default:g} |"
    slopes = {}
    for name in names:
        points = [(widths[base], *best[base][name]) for base in bases if name in best[base]]
        closed = [(width, rate) for width, rate, side in points if not side]
        if len(closed) >= 2:
            x, y = np.log([w for w, _ in closed]), np.log([r for _, r in closed])
            slopes[name] = float(np.polyfit(x, y, 1)[0])
    if slopes:
        values = np.array(list(slopes.values()))
        told = ", ".join(f"{name} {slope:+.2f}" for name, slope in slopes.items())
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        parts.append(
            f"Best rate against width, as a power, where it is bracketed at two widths or more: {told}. Mean "
            f"{values.mean():+.2f} ± {error:.2f}."
        )
    lora = {widths[base]: best[base]["lora"][0] for base in bases if "lora" in best[base]}
    told = ", ".join(f"{5e-4 * (2000 / w) ** 0.781:.1e} at width {w} (here {rate:.1e})" for w, rate in lora.items())
    parts.append(f"A cookbook of 2025 gives for LoRA on Llama 5e-4 × (2000 / width)^0.781: {told}.")
    return "\n\n".join(parts) + "\n\n" + _grids()


def _grids() -> str:
    """Mean loss and accuracy of the grid, by method and rate."""
    found: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for row in rows_of("grid"):
        found.setdefault(row["method"], {}).setdefault(row["index"], []).append(row)
    lines = [
        "## The demo's methods: validation loss and test accuracy over seeds",
        "",
        "| method | rate | seeds | loss at the rung | loss | accuracy %, mean | of each seed |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for method, rates in found.items():
        for index in sorted(rates):
            rows = [row for row in rates[index] if row["status"] == "ok"]
            if not rows:
                continue
            scores = [100 * row["test"].count("1") / len(row["test"]) for row in sorted(rows, key=lambda r: r["seed"])]
            rung, loss = (sum(row[name] for row in rows) / len(rows) for name in ("rung_loss", "loss"))
            each = " / ".join(f"{score:.1f}" for score in scores)
            mean = sum(scores) / len(scores)
            lines.append(
                f"| {method} | {rate_of(index):g} | {len(rows)} | {rung:.3f} | {loss:.3f} | {mean:.1f} | {each} |"
            )
    return "\n".join([*lines, "", *_chosen(found)]) + "\n"


def _chosen(found: dict[str, dict[int, list[dict[str, Any]]]]) -> list[str]:
    """The rule on the grid's own trainings: two seeds tune, the other two score; each pair once."""
    import numpy as np

    from peftscope.schema.effort import EFFORTS

    lines = [
        "## What the rule chooses, against the best fixed rate",
        "",
        "Tuned by the rule on two of the grid's seeds (losses and validation answers of these very trainings, from the",
        "third rate from below on), scored on the test split with the other two. The best fixed rate is chosen by the",
        "tuning seeds' *test* accuracy, which a user does not have, and scored on the same others. Mean over the six",
        "ways to part the seeds; ± is the standard error over methods.",
        "",
        "| method | best fixed, % | quick, % | standard, % | lost by quick | lost by standard |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lost: dict[str, list[float]] = {"quick": [], "standard": []}
    for method, rates in found.items():
        cells = {(index, row["seed"]): row for index, rows in rates.items() for row in rows if row["status"] == "ok"}
        if any((index, seed) not in cells for index in rates for seed in GRID_SEEDS) or len(rates) < 8:
            continue
        best: list[float] = []
        chosen: dict[str, list[float]] = {"quick": [], "standard": []}
        for first in GRID_SEEDS:
            for second in GRID_SEEDS[first + 1 :]:
                others = [seed for seed in GRID_SEEDS if seed not in (first, second)]
                fixed = max(rates, key=lambda i: _accuracy(cells, i, (first, second)))
                best.append(_accuracy(cells, fixed, others))
                for name in chosen:
                    chosen[name].append(_accuracy(cells, _tuned(cells, EFFORTS[name], (first, second)), others))
        cell = [f"{np.mean(values):.1f}" for values in (best, chosen["quick"], chosen["standard"])]
        for name in lost:
            lost[name].append(float(np.mean(best) - np.mean(chosen[name])))
            cell.append(f"{lost[name][-1]:+.1f}")
        lines.append(f"| {method} | {' | '.join(cell)} |")
    if len(lost["quick"]) > 1:
        means = [
            f"{np.mean(values):+.1f} ± {np.std(values, ddof=1) / math.sqrt(len(values)):.1f}"
            for values in lost.values()
        ]
        lines.append(f"| mean | | | | {' | '.join(means)} |")
    return lines


def _accuracy(cells: dict[tuple[int, int], dict[str, Any]], place: float, seeds: Sequence[int]) -> float:
    """Test accuracy in percent at a lattice place; between two, their mean."""
    near = {math.floor(place), math.ceil(place)}
    rows = [cells[index, seed] for index in near for seed in seeds if (index, seed) in cells]
    shares: list[float] = [100 * row["test"].count("1") / len(row["test"]) for row in rows]
    return sum(shares) / len(shares)


def _tuned(cells: dict[tuple[int, int], dict[str, Any]], effort: Any, seeds: Sequence[int]) -> float:
    """Lattice place that the rule chooses; what lies outside the grid counts as failed."""
    from peftscope.tuning.bracket import End, Seen, choose, next_asks

    rung: dict[int, float] = {}
    end: dict[tuple[int, int], Any] = {}
    start = min(index for index, _ in cells) + 2
    while asks := next_asks(Seen(rung=rung, end=end), effort, start):
        for ask in asks:
            row = cells.get((ask.index, seeds[ask.seed_number]))
            if not ask.full:
                rung[ask.index] = math.inf if row is None else float(row["rung_loss"])
            else:
                answers = () if row is None else tuple(float(answer) for answer in row["valid"])
                end[ask.index, ask.seed_number] = End(loss=loss_of(row), scores=answers)
    choice = choose(Seen(rung=rung, end=end), effort)
    return float(start) if choice is None else round(8 * math.log10(choice.rate)) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    measuring = commands.add_parser("measure")
    measuring.add_argument("parts", nargs="+", choices=["grid", "sweep", "widths", "smollm2"])
    measuring.add_argument("--cpu", type=int, default=2, help="trainings at a time on the CPU, one thread each")
    measuring.add_argument("--gpu", type=int, default=0, help="trainings at a time on the accelerator")
    measuring.add_argument("--fast", default="cpu", help="device of widths and smollm2: cpu or cuda")
    measuring.add_argument("--base", action="append", default=[], help="NAME=FOLDER of another base")
    measuring.add_argument("--only", action="append", default=[], help="methods, all others left out")
    measuring.add_argument("--limit-s", type=float, default=math.inf)
    measuring.add_argument("--out", type=Path, default=RESULTS)
    commands.add_parser("table")
    settings = parser.parse_args()
    if settings.command == "measure":
        measure(settings)
    else:
        (HERE / "learning_rates.md").write_text(table(), encoding="utf-8")


if __name__ == "__main__":
    main()
