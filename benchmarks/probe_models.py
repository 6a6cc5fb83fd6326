"""Eleven methods probed on small models of five sorts: how long it takes, and what they can do there.

    python benchmarks/probe_models.py     writes probe_models.md beside this file; a quarter of an hour on two cores

The methods are those of ``architectures.py``. Each model is written as its ``config.json`` alone, which is all that
``peftscope probe --model`` reads.
"""

from __future__ import annotations

import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from architectures import METHODS
from tiny_architectures import ARCHITECTURES

from peftscope.methods.capabilities import CAPABILITIES
from peftscope.study.probing import Capabilities, probe

HERE = Path(__file__).resolve().parent
FLUX = {
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 32,
    "num_attention_heads": 4,
    "joint_attention_dim": 64,
    "pooled_projection_dim": 64,
    "in_channels": 16,
    "axes_dims_rope": (8, 8, 16),
}
UNET = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 64,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}


def configs(folder: Path) -> dict[str, Path]:
    """The five models, as folders with a config."""
    import diffusers
    import transformers

    models = {
        "mixtral": ARCHITECTURES["mixtral"][1](),
        "bert": transformers.BertForSequenceClassification(
            transformers.BertConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
        ),
        "llama": ARCHITECTURES["llama"][1](),
    }
    found = {}
    for name, model in models.items():
        found[name] = folder / name
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(found[name])
    parts: dict[str, Any] = {"sd-unet": (diffusers.UNet2DConditionModel, UNET)}
    parts["flux"] = (diffusers.FluxTransformer2DModel, FLUX)
    for name, (part_class, settings) in parts.items():
        part = part_class(**settings)
        found[name] = folder / name
        part.save_config(found[name])
    return found


def rows(found: Capabilities) -> list[str]:
    """What each method cannot do there."""
    titles = {of.name: of.title for of in CAPABILITIES}
    lines = []
    for method, row in found.items():
        yes = sum(of.value == "yes" for of in row.values())
        lacks = ", ".join(titles[name] for name, of in row.items() if of.value == "no")
        unknown = sum(of.value == "unknown" for of in row.values())
        lines.append(f"| {method} | {yes} | {len(row) - yes - unknown} | {unknown} | {lacks} |")
    return lines


def main() -> None:
    """Probe, and write the table."""
    parts = []
    with tempfile.TemporaryDirectory() as place:
        for name, path in configs(Path(place)).items():
            started = time.perf_counter()
            found = probe(str(path), list(METHODS))
            seconds = time.perf_counter() - started
            print(name, round(seconds), flush=True)
            parts += [
                f"## {name}: {seconds:.0f} s",
                "",
                "| method | yes | no | unknown | cannot |\n| --- | ---: | ---: | ---: | --- |",
                *rows(found),
                "",
            ]
    held = ", ".join(f"{name} {version(name)}" for name in ("peft", "transformers", "diffusers", "torch"))
    head = f"# Eleven methods probed on five sorts of models\n\nWritten by `benchmarks/probe_models.py` ({held}).\n\n"
    (HERE / "probe_models.md").write_text(head + "\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
