"""Adapters of six methods on ``builtin:nano-lm`` as LoRAs of small rank: what is lost, and by whose conversion less.

    python benchmarks/conversion.py --work results/conversion      # about 25 minutes; writes benchmarks/conversion.md
    python benchmarks/conversion.py --work results/conversion --parts images size     # others are read from there

The methods are trained on word problems. Each adapter is converted at ranks 8, 16 and 32 by ``peftscope convert`` with
problems of the training split as calibration, and by ``peft.convert_to_lora``. Both are compared with the original
on problems of the validation split: divergence of the next-token distributions (kl), and the error of outputs as a
share of what the adapter does to them. *shared*: ranks shared out over weights at the same size (``--shared``);
*refined*: 60 steps of distillation (``--refine 60``). The task's score is that of the test split, before and after,
paired by example.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, convert_to_lora, get_peft_model, set_peft_model_state_dict

import peftscope as ps
from peftscope.analysis.criteria import Criteria
from peftscope.analysis.score_change import score_change
from peftscope.convert.convert import convert_adapter
from peftscope.convert.fidelity import Distance, distance, outputs_of
from peftscope.convert.inputs import Inputs
from peftscope.convert.result import Adapter, Checks, Wish
from peftscope.execution.execute import execute
from peftscope.measures.score import score_split
from peftscope.methods import checkpoint
from peftscope.methods.build import BuildContext, build
from peftscope.methods.catalog import card
from peftscope.models.kinds.base import LoadedModel
from peftscope.models.kinds.registry import kind
from peftscope.schema.record import ExampleOutcome
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MeasureSpec, MethodSpec, ModelSpec, TaskSpec, TrainSpec
from peftscope.store.files import write_record
from peftscope.tasks import registry
from peftscope.tasks.base import Task, TaskContext

BASE = ModelSpec(source="builtin:nano-lm", device="cpu")
RATES = {"loha": 3e-3, "lokr": 3e-3, "gralora": 2e-3, "oft": 1e-3, "hra": 3e-3, "dora": 2e-3}
RANKS = (8, 16, 32)
RANKS_OF_SCORE = (1, 2, 4, 8, 16, 32)
NEGLIGIBLE = 1e-3
"""Error of outputs below which a rank loses nothing."""
BATCHES = 40
"""To fit to, and to compare on."""
MARGIN = 0.03
"""Of the score: what is within it counts as equivalent."""
TASK = TaskSpec(
    name="math",
    options={
        "source": "stories", "query_template": "Question: {query}\nAnswer:", "train_size": 1500, "valid_size": 300,
        "test_size": 400, "max_new_tokens": 32, "eval_batch_size": 200, "max_length": 96, "general_tokens": 0,
    },
)  # fmt: skip
TABLE = Path(__file__).with_suffix(".md")


REFINED = 60
DRAWN = TaskSpec(
    name="concept",
    options={
        "source": "drawn", "test_size": 24, "num_inference_steps": 8, "guidance_scale": 3.0, "draws": 2,
        "eval_batch_size": 16,
    },
)  # fmt: skip
IMAGES = ModelSpec(source="builtin:nano-t2i", device="cpu")
IMAGE_RATES = {"gralora": 1e-3, "oft": 1e-3}
WIDE = ModelSpec(source="builtin:smollm2-135m", dtype="float32", device="cpu")
WIDE_METHODS = ("dora", "oft")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all conversions share."""

    loaded: LoadedModel
    task: Task
    fit: Inputs
    check: Inputs


@dataclass(frozen=True, kw_only=True)
class Row:
    """One adapter at one rank."""

    method: str
    rank: int
    kl: float
    error: float
    """Of outputs, as a share of the adapter's effect."""
    theirs: tuple[float, float] | str | None
    """The same two by peft; why there are none."""
    shared: tuple[float, float] | None
    refined: tuple[float, float] | None
    change: tuple[float, float, float]
    """Of the score, with its 95 % interval."""
    equivalent: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the adapters and for what was measured")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    settings = parser.parse_args()
    settings.work.mkdir(parents=True, exist_ok=True)
    for part in settings.parts:
        (settings.work / f"{part}.md").write_text("\n".join(PARTS[part](settings)) + "\n", encoding="utf-8")
        there = [settings.work / f"{name}.md" for name in PARTS]
        heading = ["# Conversion to LoRA", "", "\n\n".join((__doc__ or "").split("\n\n")[2:]).strip(), ""]
        parts = [path.read_text(encoding="utf-8") for path in there if path.exists()]
        TABLE.write_text("\n".join([*heading, *parts]), encoding="utf-8")
    print(TABLE.read_text(encoding="utf-8"))


def text_part(settings: argparse.Namespace) -> list[str]:
    """Six methods on the small language model."""
    shared = setting()
    rows = [row for method in RATES for row in measured(method, trained(method, settings.work, settings.steps), shared)]
    return table(rows)


def setting() -> Setting:
    """Base, task and inputs."""
    loaded = kind("causal-lm").load(BASE)
    task = registry.create(TASK, TaskContext(processor=loaded.processor, kind="causal-lm", batch_size=8))
    fit, check = (
        Inputs(kind=kind("causal-lm"), processor=loaded.processor, batches=list(islice(batches, BATCHES)))
        for batches in (task.batches(0), task.eval_batches("valid"))
    )
    return Setting(loaded=loaded, task=task, fit=fit, check=check)


def trained(method: str, work: Path, steps: int) -> Path:
    """The adapter of a method; trained where it is not there yet."""
    run = RunSpec(
        model=BASE,
        task=TASK,
        method=MethodSpec(name=method),
        learning_rate=RATES[method],
        train=TrainSpec(max_steps=steps, batch_size=8, warmup_fraction=0.1),
        measure=MeasureSpec(latency=False),
    )
    folder = work / "adapters" / run.run_id
    if not folder.is_dir():
        record = execute(run, work)
        assert record.status == "ok", record.reason
        print(f"{method}: {record.metrics['test_score']:.3f}", flush=True)
    return folder


def measured(method: str, folder: Path, shared: Setting) -> list[Row]:
    """Every rank of one adapter."""
    of = card(method)
    adapted = checkpoint.load(_base(), folder, of)
    wanted, before = outputs_of(adapted, shared.check), _scores(adapted, shared)
    effect = distance(_base(), wanted, shared.check)
    rows = []
    for rank in sorted({*RANKS, *RANKS_OF_SCORE}):
        plain = _converted(method, folder, Wish(rank=rank), shared)
        kl, error = _figures(plain, wanted, effect, shared)
        change = score_change(before, _scores(plain, shared), Criteria(margin=MARGIN), sign=1.0)
        is_lossy = rank in RANKS and error > NEGLIGIBLE
        others = [
            _figures(_converted(method, folder, wish, shared), wanted, effect, shared) if is_lossy else None
            for wish in (Wish(rank=rank, shared=True), Wish(rank=rank, refine=REFINED))
        ]
        theirs = _peft(folder, of, rank, wanted, effect, shared) if rank in RANKS else None
        rows.append(
            Row(
                method=method, rank=rank, kl=kl, error=error, theirs=theirs, shared=others[0], refined=others[1],
                change=(change.change, *change.interval), equivalent=change.verdict == "equivalent",
            )
        )  # fmt: skip
        print(json.dumps(asdict(rows[-1])), flush=True)
    return rows


def _converted(method: str, folder: Path, wish: Wish, shared: Setting) -> Any:
    with tempfile.TemporaryDirectory() as place:
        converted = convert_adapter(
            Adapter(folder=folder, card=card(method), base=BASE, kind=kind("causal-lm")),
            Path(place) / "lora",
            wish,
            Checks(calibration=lambda loaded: shared.fit),
        )
        return PeftModel.from_pretrained(_base(), converted.folder)


def _figures(model: Any, wanted: Any, effect: Distance, shared: Setting) -> tuple[float, float]:
    """Divergence and error of outputs."""
    away = distance(model, wanted, shared.check)
    return away.figures["kl"], away.share_of(effect)


def _base() -> Any:
    return kind("causal-lm").load(BASE).model


def _scores(model: Any, shared: Setting) -> list[ExampleOutcome]:
    predictor = kind("causal-lm").predictor(shared.loaded, lambda *_: None)
    found = score_split(shared.task, model, predictor, "test")
    return [ExampleOutcome(example_id=each.example_id, score=each.score) for each in found]


def _peft(
    folder: Path, of: Any, rank: int, wanted: Any, effect: Distance, shared: Setting
) -> tuple[float, float] | str:
    """The same by ``peft``; why not, where it does not."""
    try:
        config, state = convert_to_lora(checkpoint.load(_base(), folder, of), rank)
        plain = get_peft_model(_base(), config)
        set_peft_model_state_dict(plain, state)
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        return str(error).splitlines()[0][:60]
    return _figures(plain.eval(), wanted, effect, shared)


def table(rows: list[Row]) -> list[str]:
    """What six methods lose."""
    lossy = [row for row in rows if row.rank in RANKS and row.error > NEGLIGIBLE]
    ratios = [row.kl / row.theirs[0] for row in lossy if isinstance(row.theirs, tuple)]
    shared = [row.shared[0] / row.kl for row in lossy if row.shared is not None]
    refined = [row.refined[0] / row.kl for row in lossy if row.refined is not None]
    lines = [
        f"Where a rank loses something and peft converts: {sum(ratio < 1 for ratio in ratios)} of {len(ratios)} with a "
        f"smaller divergence than peft's, median ratio {statistics.median(ratios):.2f}. Where a rank loses something, "
        f"ranks that are shared out come to {statistics.median(shared):.2f} of the divergence (median), refining to "
        f"{statistics.median(refined):.2f}.",
        "",
        "| method | rank | kl | kl by peft | ratio | kl, shared | kl, refined | output error | by peft |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in (row for row in rows if row.rank in RANKS):
        others = " | ".join("–" if pair is None else f"{pair[0]:.5f}" for pair in (row.shared, row.refined))
        theirs, ratio, error = "refused", "–", "–"
        if isinstance(row.theirs, tuple):
            theirs, error = f"{row.theirs[0]:.5f}", f"{100 * row.theirs[1]:.1f} %"
            ratio = f"{row.kl / row.theirs[0]:.2f}"
        lines.append(
            f"| {row.method} | {row.rank} | {row.kl:.5f} | {theirs} | {ratio} | {others} | {100 * row.error:.1f} % |"
            f" {error} |"
        )
    lines += [
        "",
        f"Least rank whose score is equivalent to the original's (surely within ± {100 * MARGIN:g} points; tried: "
        f"{', '.join(map(str, RANKS_OF_SCORE))}):",
        "",
        "| method | least rank | difference there, points | at rank 32 |",
        "| --- | ---: | ---: | ---: |",
    ]
    for method in dict.fromkeys(row.method for row in rows):
        own = {row.rank: row for row in rows if row.method == method}
        enough = [rank for rank in RANKS_OF_SCORE if own[rank].equivalent]
        least = f"{enough[0]} | {_points(own[enough[0]].change)}" if enough else "none | –"
        lines.append(f"| {method} | {least} | {_points(own[32].change)} |")
    return lines


def _points(change: tuple[float, float, float]) -> str:
    mean, low, high = (100 * value for value in change)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def image_part(settings: argparse.Namespace) -> list[str]:
    """Two methods that teach ``builtin:nano-t2i`` a character: its similarity and drift with the adapter and a LoRA."""
    lines = [
        "## Image adapters",
        "",
        "``builtin:nano-t2i`` learns a character in 90 steps; 24 unseen prompts, two noise seeds each. Similarity: "
        "cosine of encoded pictures to the character's photos; drift: how far pictures of other things moved.",
        "",
        "| method | rank | output error | similarity before | after | difference | drift before | after |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for method, rate in IMAGE_RATES.items():
        run = RunSpec(
            model=IMAGES,
            task=DRAWN,
            method=MethodSpec(name=method),
            learning_rate=rate,
            train=TrainSpec(max_steps=90, batch_size=4, warmup_fraction=0.1),
            measure=MeasureSpec(latency=False),
        )
        record = execute(run, settings.work)
        assert record.status == "ok", record.reason
        write_record(settings.work, record)
        for rank in (8, 32):
            with tempfile.TemporaryDirectory() as place:
                found = ps.convert(run.run_id, Path(place) / "out", study=settings.work, rank=rank).conversion
                drift = _drift(found.folder)
            score = found.score
            assert score is not None
            assert found.output_error is not None
            low, high = score.interval
            lines.append(
                f"| {method} | {rank} | {100 * found.output_error:.1f} % | {score.before:.4f} | {score.after:.4f} |"
                f" {score.change:+.4f} [{low:+.4f}, {high:+.4f}] | {record.metrics['image_drift']:.4f} | {drift:.4f} |"
            )
            print(lines[-1], flush=True)
    return lines


def _drift(folder: Path) -> float:
    """Of pictures of other things, with a converted LoRA."""
    loaded = kind("text-to-image").load(IMAGES)
    task = registry.create(DRAWN, TaskContext(processor=loaded.processor, kind="text-to-image", batch_size=4))
    retention = task.retention()
    assert retention is not None
    baseline = retention.baseline(loaded.model)
    model = checkpoint.load(loaded.model, folder, card("lora"))
    return retention.compare(model, baseline)["image_drift"]


def size_part(settings: argparse.Namespace) -> list[str]:
    """Time and memory of a conversion, and what was foretold."""
    lines = [
        "## Time and memory",
        "",
        "SmolLM2-135M (576 wide, 30 layers, 210 weights changed) in float32 at rank 32 on 2 cores, a process for each: "
        "to load, calibrate and factorise; to compare with the original; the process's largest memory above what its "
        "imports take. What ``peftscope convert --plan`` says before stands beside it, and what it says of a 3 B model "
        "(Llama-3.2-3B's config on this CPU). A DoRA's pass over the inputs, with its norms taken anew, is the slower "
        "one.",
        "",
        "| adapter | convert, s | foretold | compare, s | foretold | memory, MB | foretold |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for method in WIDE_METHODS:
        folder = _untrained(method, settings.work)
        done = subprocess.run(
            [sys.executable, __file__, "--work", str(settings.work), "--alone", str(folder)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
        plan = ps.plan_conversion(folder, rank=32).forecast
        lines.append(
            f"| {method} | {found['convert_s']:.1f} | {plan.convert_s:.1f} | {found['compare_s']:.1f} |"
            f" {plan.compare_s:.1f} | {found['memory_bytes'] / 1e6:,.0f} | {plan.peak_bytes / 1e6:,.0f} |"
        )
        print(lines[-1], flush=True)
    config = Path(__file__).parents[1] / "tests" / "configs" / "llama-3.2-3b.json"
    plan = ps.plan_conversion(_untrained("oft", settings.work), model=str(config), rank=64).forecast
    lines.append(
        f"| oft, 3 B | – | {plan.convert_s:.0f} | – | {plan.compare_s:.0f} | – | {plan.peak_bytes / 1e6:,.0f} |"
    )
    return lines


def _untrained(method: str, work: Path) -> Path:
    """An adapter on the wider model that does something: its weights are disturbed."""
    folder = work / "wide" / method
    if not folder.is_dir():
        context = BuildContext(seed=0, max_steps=10, learning_rate=1e-3, warn=lambda line: None)
        built = build(kind("causal-lm").load(WIDE).model, MethodSpec(name=method), context)
        torch.manual_seed(1)
        for parameter in built.model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.005 * torch.randn_like(parameter)
        checkpoint.save(built, folder, base=WIDE.source)
    return folder


def alone(folder: Path) -> None:
    """One conversion in a process of its own; prints what it took."""
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stages: dict[str, float] = {}
    begun, stage = time.perf_counter(), "start"

    def told(line: str) -> None:
        nonlocal begun, stage
        now = time.perf_counter()
        stages[stage] = stages.get(stage, 0.0) + now - begun
        begun, stage = now, "factors" if "." in line else line

    with tempfile.TemporaryDirectory() as place:
        ps.convert(folder, Path(place) / "out", rank=32, told=told)
        told("end")
    print(
        json.dumps(
            {
                "convert_s": stages["load"] + stages["factors"],
                "compare_s": stages["outputs"] + stages["compare"],
                "memory_bytes": 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle),
            }
        )
    )


PARTS = {"text": text_part, "images": image_part, "size": size_part}


if __name__ == "__main__":
    if "--alone" in sys.argv:
        alone(Path(sys.argv[-1]))
    else:
        main()
