"""Adapters of four methods on SmolLM2-135M as LoRAs in the real llama.cpp: does it answer as transformers does?

    python benchmarks/llama_cpp.py --work results/llama-cpp      # about ten minutes; writes benchmarks/llama_cpp.md

Each method is trained on word problems, converted by ``peftscope convert --format gguf`` and loaded into llama.cpp on
the base as GGUF in float32, which peftscope exports, and on the base's own 4-bit file. What is compared is the first 16
greedy tokens after 50 prompts, with those of the original adapter in transformers. The base's weights are those of the
4-bit file, unpacked: what differs there is llama.cpp's own arithmetic on 4-bit blocks. The same is done without
adapters.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from llama_server import LlamaCpp

import peftscope as ps
from peftscope.execution.execute import execute
from peftscope.methods import checkpoint
from peftscope.methods.catalog import card
from peftscope.models.kinds.causal_lm.generation import greedy_tokens
from peftscope.models.kinds.registry import kind
from peftscope.models.source import gguf_file
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MeasureSpec, MethodSpec, ModelSpec, TaskSpec, TrainSpec
from peftscope.tasks import registry
from peftscope.tasks.base import TaskContext

BASE = ModelSpec(source="builtin:smollm2-135m", dtype="float32", device="cpu")
RANKS = {"oft": (64, 256)}
"""Of the LoRA, 64 where nothing is said: changes of full rank need more to say the same."""
RATES = {"lora": 3e-4, "rslora": 1e-4, "dora": 3e-4, "oft": 3e-4}
NUM_PROMPTS, NUM_TOKENS = 50, 16
TASK = TaskSpec(
    name="math",
    options={
        "source": "stories", "train_size": 200, "valid_size": 8, "test_size": NUM_PROMPTS, "max_new_tokens": 8,
        "general_tokens": 0,
    },
)  # fmt: skip
ROWS = "rows.json"
TABLE = Path(__file__).with_suffix(".md")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Shares of tokens that are the same."""

    name: str
    rank: int | None
    output_error: float | None
    on_float32: float
    on_4_bit: float
    changed: float
    """Tokens that the adapter changes at all, in transformers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for adapters and models")
    parser.add_argument("--steps", type=int, default=20)
    settings = parser.parse_args()
    settings.work.mkdir(parents=True, exist_ok=True)
    four_bit = gguf_file(BASE)
    assert four_bit is not None
    loaded = kind("causal-lm").load(BASE)
    float32 = settings.work / "base-f32.gguf"
    if not float32.exists():
        kind("causal-lm").write_gguf(loaded, BASE, float32)
    prompts = _prompts(loaded.processor)
    plain = _continued(loaded.model, prompts)
    rows = _kept(settings.work)
    if "none" not in rows:
        given = [_llama(each, None, prompts) for each in (float32, four_bit)]
        _keep(settings.work, rows, _row("none", None, None, plain, plain, given))
    for method, rank in ((name, rank) for name, rank in _cases() if _label(name, rank) not in rows):
        adapter = _trained(method, settings.work, settings.steps)
        with tempfile.TemporaryDirectory() as place:
            found = ps.convert(adapter, Path(place) / "out", model=BASE.source, format="gguf", rank=rank, score=False)
            wanted = _continued(checkpoint.load(kind("causal-lm").load(BASE).model, adapter, card(method)), prompts)
            given = [_llama(each, found.conversion.folder / "lora.gguf", prompts) for each in (float32, four_bit)]
        error = found.conversion.output_error
        _keep(settings.work, rows, _row(_label(method, rank), found.conversion.rank, error, plain, wanted, given))
    names = ["none", *(_label(*case) for case in _cases())]
    TABLE.write_text(_table([rows[name] for name in names]), encoding="utf-8")


def _cases() -> list[tuple[str, int]]:
    return [(name, rank) for name in RATES for rank in RANKS.get(name, (64,))]


def _label(name: str, rank: int) -> str:
    return name if rank == 64 else f"{name}, {rank}"


def _kept(work: Path) -> dict[str, Row]:
    """What an earlier go measured."""
    path = work / ROWS
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return {row["name"]: Row(**row) for row in found}


def _keep(work: Path, rows: dict[str, Row], row: Row) -> None:
    print(row, flush=True)
    rows[row.name] = row
    (work / ROWS).write_text(json.dumps([asdict(each) for each in rows.values()]), encoding="utf-8")


def _prompts(tokenizer: Any) -> list[list[int]]:
    task = registry.create(TASK, TaskContext(processor=tokenizer, kind="causal-lm"))
    return [tokenizer(task.show("test", index).prompt)["input_ids"] for index in range(NUM_PROMPTS)]


def _trained(method: str, work: Path, steps: int) -> Path:
    run = RunSpec(
        model=BASE,
        task=TASK,
        method=MethodSpec(name=method),
        learning_rate=RATES[method],
        train=TrainSpec(max_steps=steps, batch_size=4, warmup_fraction=0.1),
        measure=MeasureSpec(latency=False, metered_steps=0),
    )
    folder = work / "adapters" / run.run_id
    if not folder.is_dir():
        record = execute(run, work)
        assert record.status == "ok", record.reason
    return folder


def _continued(model: Any, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Greedy tokens, one prompt at a time: padding would decide near ties otherwise."""
    found = []
    for prompt in prompts:
        ids = torch.tensor([list(prompt)])
        tokens = greedy_tokens(
            model.eval(), ids, torch.ones_like(ids), max_new_tokens=NUM_TOKENS, eos_token_id=None, pad_token_id=0
        )
        found.append(tokens[0].tolist()[:NUM_TOKENS])
    return found


def _llama(model: Path, lora: Path | None, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    server = LlamaCpp(model, lora)
    return [server.continued(prompt, NUM_TOKENS) for prompt in prompts]


def _row(
    name: str, rank: int | None, error: float | None, plain: list[Any], wanted: list[Any], given: list[list[Any]]
) -> Row:
    return Row(
        name=name,
        rank=rank,
        output_error=error,
        on_float32=_same(given[0], wanted),
        on_4_bit=_same(given[1], wanted),
        changed=1.0 - _same(plain, wanted),
    )


def _same(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> float:
    pairs = [(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=False)]
    return sum(a == b for a, b in pairs) / len(pairs)


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "# LoRAs in llama.cpp",
        "",
        (__doc__ or "").split("\n\n")[-1].strip(),
        "",
        "| adapter | rank | output error | tokens it changes | the same in llama.cpp, float32 | on the 4-bit file |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        error = "–" if row.output_error is None else f"{100 * row.output_error:.2f} %"
        rank = "–" if row.rank is None else str(row.rank)
        shares = " | ".join(f"{100 * share:.1f} %" for share in (row.changed, row.on_float32, row.on_4_bit))
        lines.append(f"| {row.name} | {rank} | {error} | {shares} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
