"""A plain LoRA as other programs lay it out: the same factors under other names.

``diffusers``: one file, modules by their path in the pipeline, no alpha, which counts as one that equals the rank.
``kohya``: one file, paths joined by underscores, an alpha for each module, as trainers of that family write a UNet's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from peftscope.errors import ModelError
from peftscope.store.files import ordinary_mode

__all__ = ["Layout", "lay_out", "require_layout"]

Layout = Literal["peft", "diffusers", "kohya", "merged"]
"""``merged`` is no adapter, but the whole model."""
PREFIX = "base_model.model."
UNET = "unet"
FILES = {"diffusers": "pytorch_lora_weights.safetensors", "kohya": "lora.safetensors"}


def require_layout(layout: Layout, part: str | None) -> None:
    """Refuse a layout that is not for a model.

    Args:
        layout: Asked for.
        part: The part of a pipeline that is adapted; None for a model that is not in one.

    Raises:
        ModelError: There is no such layout of it.
    """
    if layout != "peft" and part is None:
        raise ModelError(f"the format {layout} is for models that draw; servers of text load the format peft")
    if layout == "kohya" and part != UNET:
        raise ModelError(f"the format kohya names the modules of a UNet; this pipeline has a {part}: take diffusers")


def lay_out(folder: Path, layout: Layout, part: str | None) -> None:
    """Replace an adapter as ``peft`` has it by the same in another layout.

    Args:
        folder: Holds it.
        layout: How it is to lie there.
        part: The part of a pipeline that is adapted; None for a model that is not in one.
    """
    if layout == "peft":
        return
    assert part is not None
    weights = load_file(folder / "adapter_model.safetensors")
    named = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    path = folder / FILES[layout]
    save_file(_LAYOUTS[layout](named, part), path, metadata={"format": "pt"})
    path.chmod(ordinary_mode())
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (folder / name).unlink()


def _diffusers(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in weights.items()}


def _kohya(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        module, _, side = name.rpartition(".lora_")
        key = f"lora_unet_{module.replace('.', '_')}"
        if side.startswith("A"):
            found[f"{key}.alpha"] = torch.tensor(float(len(tensor)))
            found[f"{key}.lora_down.weight"] = tensor
        else:
            found[f"{key}.lora_up.weight"] = tensor
    return found


_LAYOUTS: dict[str, Callable[[Mapping[str, Tensor], str], dict[str, Tensor]]] = {
    "diffusers": _diffusers,
    "kohya": _kohya,
}
