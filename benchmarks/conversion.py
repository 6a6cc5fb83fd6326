"""Adapters of six methods on ``builtin:nano-lm`` as LoRAs of small rank: what is lost, and by whose conversion less.

    python benchmarks/conversion.py --work results/conversion      # about ten minutes; writes benchmarks/conversion.md

The methods are trained on word problems. Each adapter is converted at ranks 8, 16 and 32 by ``peftscope.convert`` with
problems of the training split as calibration, and by ``peft.convert_to_lora``. Both are compared with the original
on problems of the validation split: divergence of the next-token distributions, and the error of outputs as a share of
what the adapter does to them. The task's score is that of the test split, before and after, paired by example.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from peft import PeftModel, convert_to_lora, get_peft_model, set_peft_model_state_dict

from peftscope.convert.convert import convert_adapter
from peftscope.convert.fidelity import Distance, distance, outputs_of
from peftscope.convert.inputs import Inputs
from peftscope.convert.result import Adapter, Checks, Wish
from peftscope.execution.execute import execute
from peftscope.measures.score import score_split
from peftscope.methods import checkpoint
from peftscope.methods.catalog import card
from peftscope.models.kinds.base import LoadedModel
from peftscope.models.kinds.registry import kind
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MeasureSpec, MethodSpec, ModelSpec, TaskSpec, TrainSpec
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
    ours: Distance
    theirs: Distance | str
    """peft's; why there is none."""
    effect: Distance
    score: tuple[float, float, float] | None
    """Difference of scores after less before, with its 95 % interval."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the adapters")
    parser.add_argument("--steps", type=int, default=120)
    settings = parser.parse_args()
    shared = setting()
    rows = [row for method in RATES for row in measured(method, trained(method, settings.work, settings.steps), shared)]
    TABLE.write_text(table(rows), encoding="utf-8")
    print(table(rows))


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
        with tempfile.TemporaryDirectory() as place:
            converted = convert_adapter(
                Adapter(folder=folder, card=of, base=BASE, kind=kind("causal-lm")),
                Path(place) / "lora",
                Wish(rank=rank),
                Checks(calibration=lambda loaded: shared.fit),
            )
            plain = PeftModel.from_pretrained(_base(), converted.folder)
            ours, after = distance(plain, wanted, shared.check), _scores(plain, shared)
        theirs = _peft(folder, of, rank, wanted, shared) if rank in RANKS else "not asked"
        rows.append(
            Row(method=method, rank=rank, ours=ours, theirs=theirs, effect=effect, score=_difference(after, before))
        )
        print(f"{method} {rank}: {ours.share_of(effect):.4f} {ours.figures['kl']:.5f}", flush=True)
    return rows


def _base() -> Any:
    return kind("causal-lm").load(BASE).model


def _scores(model: Any, shared: Setting) -> list[float]:
    predictor = kind("causal-lm").predictor(shared.loaded, lambda *_: None)
    return [outcome.score for outcome in score_split(shared.task, model, predictor, "test")]


def _peft(folder: Path, of: Any, rank: int, wanted: Any, shared: Setting) -> Distance | str:
    """The same by ``peft``; why not, where it does not."""
    try:
        config, state = convert_to_lora(checkpoint.load(_base(), folder, of), rank)
        plain = get_peft_model(_base(), config)
        set_peft_model_state_dict(plain, state)
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        return str(error).splitlines()[0][:60]
    return distance(plain.eval(), wanted, shared.check)


def _difference(after: list[float], before: list[float]) -> tuple[float, float, float]:
    """Mean paired difference and its 95 % interval over examples."""
    differences = [a - b for a, b in zip(after, before, strict=True)]
    mean = statistics.fmean(differences)
    half = 1.96 * statistics.stdev(differences) / math.sqrt(len(differences))
    return mean, mean - half, mean + half


def table(rows: list[Row]) -> str:
    """The page."""
    lossy = [row for row in rows if row.rank in RANKS and row.ours.share_of(row.effect) > NEGLIGIBLE]
    both = [(row, row.theirs) for row in lossy if isinstance(row.theirs, Distance)]
    better = [row for row, theirs in both if row.ours.figures["kl"] < theirs.figures["kl"]]
    ratios = [row.ours.figures["kl"] / theirs.figures["kl"] for row, theirs in both]
    lines = [
        "# Conversion to LoRA",
        "",
        (__doc__ or "").split("\n\n")[-1].strip(),
        "",
        f"Where a rank loses something and peft converts: {len(better)} of {len(both)} with a smaller divergence, "
        f"median ratio {statistics.median(ratios):.2f}."
        if ratios
        else "peft converts none of them.",
        "",
        "| method | rank | kl | kl by peft | ratio | output error | output error by peft |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in (row for row in rows if row.rank in RANKS):
        ours = f"{row.method} | {row.rank} | {row.ours.figures['kl']:.5f}"
        error = f"{100 * row.ours.share_of(row.effect):.1f} %"
        if isinstance(row.theirs, str):
            lines.append(f"| {ours} | refused | – | {error} | – |")
            continue
        ratio = row.ours.figures["kl"] / row.theirs.figures["kl"]
        theirs = f"{row.theirs.figures['kl']:.5f} | {ratio:.2f}"
        lines.append(f"| {ours} | {theirs} | {error} | {100 * row.theirs.share_of(row.effect):.1f} % |")
    lines += [
        "",
        f"Least rank whose score is equivalent to the original's (95 % interval of the paired difference within "
        f"± {100 * MARGIN:g} points; ranks tried: {', '.join(map(str, RANKS_OF_SCORE))}):",
        "",
        "| method | least rank | difference there, points | at rank 32 |",
        "| --- | ---: | ---: | ---: |",
    ]
    for method in dict.fromkeys(row.method for row in rows):
        own = {row.rank: row for row in rows if row.method == method}
        enough = [rank for rank in RANKS_OF_SCORE if _within(own[rank])]
        least = f"{enough[0]} | {_points(own[enough[0]])}" if enough else "none | –"
        lines.append(f"| {method} | {least} | {_points(own[32])} |")
    return "\n".join(lines) + "\n"


def _within(row: Row) -> bool:
    return row.score is not None and row.score[1] >= -MARGIN and row.score[2] <= MARGIN


def _points(row: Row) -> str:
    assert row.score is not None
    mean, low, high = (100 * value for value in row.score)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
