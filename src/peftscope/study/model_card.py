"""The card that goes with a converted adapter: what it is, how near the original, how it was trained, how to use it.

In the form of the hub's model cards. It holds no path of this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from peftscope.convert.layouts import served_rank
from peftscope.convert.result import Conversion
from peftscope.methods.plain_lora import PLAIN
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.schema.study import TaskSpec
from peftscope.store.local_paths import without_local_paths
from peftscope.study.card_lines import USES, data_name, training_lines
from peftscope.views.units import metric_text

__all__ = ["model_card"]

LIBRARIES = {
    "peft": "peft",
    "vllm": "peft",
    "gguf": "gguf",
    "diffusers": "diffusers",
    "kohya": "diffusers",
    "comfy": "diffusers",
    "merged-gguf": "gguf",
}


def model_card(
    found: Conversion,
    *,
    base: str | None,
    record: RunRecord | None,
    scored: tuple[TaskSpec, MetricSpec] | None = None,
    chosen: str | None = None,
) -> str:
    """The card as Markdown.

    Args:
        found: What was converted and measured.
        base: What the base is called where others find it.
        record: Of the run the adapter comes from; None for an adapter of others.
        scored: The task it was scored by, and its metric; None where it was not.
        chosen: How a study came to it; None where somebody named it.
    """
    what = "A model" if found.rank is None else f"A LoRA of rank {found.rank}"
    of = f"`{base}`" if base else "its base"
    part = "" if found.strength == 1.0 else f", of whose change it holds a part: strength {found.strength:g}"
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(found, base, scored), sort_keys=False, allow_unicode=True)}---",
        f"# {found.method} of {base or 'a base model'}{'' if found.rank is None else ' as a LoRA'}",
        f"{what}, made by peftscope from an adapter trained with {found.method} on {of}{part}.",
        "## How near it is to the original",
        "\n".join(_nearness(found, scored)),
        *([] if record is None else ["## How it was trained", "\n".join(training_lines(record, chosen))]),
        "## Use",
        _use(found),
    ]
    text: str = without_local_paths("\n\n".join(parts))
    return text + "\n"


def _use(found: Conversion) -> str:
    """How it is loaded, and by what."""
    name: str = found.layout
    if name == "peft" and (found.wholes or found.has_own_ranks):
        name = "peft alone"
    text = USES[name].format(rank=found.rank, limit=served_rank(found.rank or 1))
    if found.wholes:
        text += f"\n\nBeside the factors it holds {len(found.wholes)} parameters whole, which servers do not load."
    elif name == "peft alone":
        text += "\n\nEach weight has a rank of its own (`rank_pattern`), which not every server reads."
    return text


def _front_matter(found: Conversion, base: str | None, scored: tuple[TaskSpec, MetricSpec] | None) -> dict[str, Any]:
    matter: dict[str, Any] = {"library_name": LIBRARIES.get(found.layout, "transformers")}
    if base:
        matter["base_model"] = base
    matter["tags"] = ["peftscope", *([] if found.rank is None else [PLAIN]), found.method]
    if found.score is not None and scored is not None:
        task, metric = scored
        matter["model-index"] = [
            {
                "name": f"{found.method} of {base or 'a base model'}",
                "results": [
                    {
                        "task": {"type": task.name},
                        "dataset": {"type": "own", "name": data_name(task)},
                        "metrics": [{"type": metric.name, "value": round(found.score.after, 6)}],
                    }
                ],
            }
        ]
    return matter


def _nearness(found: Conversion, scored: tuple[TaskSpec, MetricSpec] | None) -> Iterator[str]:
    near = " (outputs are near, but the test examples do not tell what that does to the score)"
    yield f"Verdict: **{found.verdict}**{near if found.verdict == 'undecided' else ''}.\n"
    yield "| | this | the base alone |"
    yield "| --- | ---: | ---: |"
    if found.output_error is not None:
        yield f"| outputs: error, of what the adapter does to them | {100 * found.output_error:.2f} % | 100 % |"
    for name, value in found.figures.items():
        yield f"| {name} | {value:.4g} | {found.base_figures[name]:.4g} |"
    if found.score is not None and scored is not None:
        metric = scored[1]
        low, high = (metric_text(metric, end, signed=True) for end in found.score.interval)
        yield ""
        yield (
            f"{metric.name} of {found.score.num_examples} test examples: "
            f"{metric_text(metric, found.score.before)} with the original adapter, "
            f"{metric_text(metric, found.score.after)} with this; change "
            f"{metric_text(metric, found.score.change, signed=True)} (95 %: {low} to {high})."
        )
    if found.output_error is not None:
        yield "\nOutputs were compared on inputs that nothing was fitted to."
