"""A plain LoRA as other programs lay it out: the same factors under other names.

``vllm``: as ``peft`` has it, within what vLLM loads.
``gguf``: one file for llama.cpp, named and laid out as it names and lays out the base's weights.
``diffusers``: one file, modules by their path in the pipeline, no alpha, which counts as one that equals the rank.
``kohya``: one file, paths joined by underscores, an alpha for each module, as trainers of that family write a UNet's.
``comfy``: kohya's of a UNet, else that of diffusers with an alpha for each module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from gguf import GGUFType, GGUFWriter, Keys
from safetensors.torch import load_file, save_file
from torch import Tensor

from peftscope.convert.changes import Whole
from peftscope.convert.conversion import ConvertedLayer
from peftscope.convert.file_names import ADAPTER_FILES
from peftscope.errors import MethodRefused, ModelError
from peftscope.methods.plain_lora import PLAIN
from peftscope.models.gguf_layout import GgufLayout
from peftscope.models.kinds.base import LoadedModel, ModelKind
from peftscope.store.files import ordinary_mode

__all__ = ["PADDED", "WHOLE", "Home", "Layout", "served_rank"]

Layout = Literal["peft", "vllm", "gguf", "diffusers", "kohya", "comfy", "merged", "merged-gguf"]
"""The merged ones are no adapters, but the whole model."""
WHOLE = ("merged", "merged-gguf")
PADDED = ("vllm", "diffusers")
"""Whose loaders take one rank for all modules, or scale several ranks wrongly."""
OF_PIPELINES = ("diffusers", "kohya", "comfy")
PREFIX = "base_model.model."
UNET = "unet"
SERVED_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as ``max_lora_rank``."""


def served_rank(rank: int) -> int | None:
    """The least limit vLLM takes that lets a rank in; None where there is none."""
    return next((limit for limit in SERVED_RANKS if limit >= rank), None)


@dataclass(frozen=True)
class Home:
    """Where a LoRA is going to be loaded: a layout, for a model.

    Args:
        layout: How it is to lie.
        part: The part of a pipeline that is adapted; None for a model that is not in one.
        gguf: llama.cpp's layout of the base; None where it is not asked for.
    """

    layout: Layout
    part: str | None = None
    gguf: GgufLayout | None = None

    @classmethod
    def of(cls, layout: Layout, kind: ModelKind, loaded: LoadedModel) -> Home:
        """The one for a base.

        Raises:
            ModelError: There is no such layout of it.
        """
        part = kind.part(loaded.processor)
        if layout in OF_PIPELINES and part is None:
            raise ModelError(
                f"the format {layout} is for models that draw; servers of text load the formats peft and gguf"
            )
        if layout == "kohya" and part != UNET:
            raise ModelError(
                f"the format kohya names the modules of a UNet; this pipeline has a {part}: take diffusers or comfy"
            )
        if layout not in ("gguf", "vllm"):
            return cls(layout, part)
        if part is not None:
            raise ModelError(f"the format {layout} is for models of text; models that draw take diffusers or comfy")
        return cls(layout, part, kind.gguf(loaded.model) if layout == "gguf" else None)

    @property
    def takes_shared_ranks(self) -> bool:
        """Whether a rank for each module is read rightly; elsewhere all are filled up to the largest."""
        return self.layout not in PADDED

    def require(self, layers: Sequence[ConvertedLayer], wholes: Sequence[Whole], *, rank: int) -> None:
        """Refuse what it has no place for.

        Args:
            layers: What is changed by factors.
            wholes: What is changed whole.
            rank: Of the LoRA.

        Raises:
            MethodRefused: Something cannot be held.
            ModelError: The rank is too large.
        """
        if wholes and self.layout != "peft":
            names = ", ".join(of.name for of in wholes[:3])
            more = f" and {len(wholes) - 3} more" if len(wholes) > 3 else ""
            raise MethodRefused(
                f"{names}{more}: changed, and LoRA has no factors for it; the format {self.layout} has no place for "
                "it beside them. Take the format peft, which peft itself loads, or merged"
            )
        if self.layout == "vllm":
            if any(layer.form == "experts" for layer in layers):
                raise MethodRefused("vLLM names the LoRA of experts otherwise than peft; take the format merged")
            if served_rank(rank) is None:
                raise ModelError(f"vLLM loads no rank above {SERVED_RANKS[-1]}, and this one has {rank}")
        if self.gguf is not None:
            without = self.gguf.without_factors([layer.module for layer in layers])
            if without:
                raise MethodRefused(
                    f"llama.cpp takes no LoRA on {', '.join(without[:3])} of such a model; take the format peft"
                )

    def lay_out(self, folder: Path) -> None:
        """Replace an adapter as ``peft`` has it by the same in this layout.

        Args:
            folder: Holds it.
        """
        if self.layout in ("peft", "vllm"):
            return
        weights = load_file(folder / "adapter_model.safetensors")
        named = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
        path = folder / ADAPTER_FILES[self.layout]
        if self.gguf is not None:
            _write_gguf(named, self.gguf, path)
        else:
            assert self.part is not None
            comfy = _kohya if self.part == UNET else _with_alphas
            write = {"diffusers": _diffusers, "kohya": _kohya, "comfy": comfy}[self.layout]
            save_file(write(named, self.part), path, metadata={"format": "pt"})
        path.chmod(ordinary_mode())
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            (folder / name).unlink()


def _diffusers(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in weights.items()}


def _with_alphas(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    found = _diffusers(weights, part)
    for name, tensor in weights.items():
        module, side = _split(name)
        if side == "A":
            found[f"{part}.{module}.alpha"] = torch.tensor(float(len(tensor)))
    return found


def _kohya(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        module, side = _split(name)
        key = f"lora_unet_{module.replace('.', '_')}"
        if side == "A":
            found[f"{key}.alpha"] = torch.tensor(float(len(tensor)))
            found[f"{key}.lora_down.weight"] = tensor
        else:
            found[f"{key}.lora_up.weight"] = tensor
    return found


def _write_gguf(weights: Mapping[str, Tensor], layout: GgufLayout, path: Path) -> None:
    ranks = {len(tensor) for name, tensor in weights.items() if _split(name)[1] == "A"}
    writer = GGUFWriter(path, layout.architecture)
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string(Keys.Adapter.TYPE, PLAIN)
    # llama.cpp takes one alpha for all and divides it by each module's own rank; 0 means that it does not
    writer.add_float32(Keys.Adapter.LORA_ALPHA, float(ranks.pop()) if len(ranks) == 1 else 0.0)
    for name, tensor in weights.items():
        module, side = _split(name)
        there = layout.name(module)
        assert there is not None
        value = tensor.float()
        if ".lora_embedding_" in name:  # a row is looked up in the first factor
            value = value.T if side == "A" else value
        elif side == "B":
            value = layout.stored(there, value)
        writer.add_tensor(f"{there}.weight.lora_{side.lower()}", value.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _split(name: str) -> tuple[str, str]:
    """Module and side, A or B, of a factor's name."""
    module, _, side = name.removesuffix(".weight").rpartition(".lora_")
    return module, side[-1]
