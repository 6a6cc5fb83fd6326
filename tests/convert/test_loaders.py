"""By what each loader documents it does with a LoRA, what is written comes out as the adapter's change."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor

import peftscope as ps
import tiny_pipelines
from peftscope.convert.layouts import served_rank
from peftscope.errors import MethodRefused, ModelError
from peftscope.methods import checkpoint
from peftscope.methods.build import BuildContext, build
from peftscope.models.kinds.text_to_image.kind import TextToImage
from peftscope.schema.study import MethodSpec, ModelSpec
from tiny import tiny_llama

pytestmark = [pytest.mark.filterwarnings("ignore")]

MODULE = "model.layers.1.self_attn.o_proj"
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 32},
    "rank-stabilised": {"r": 4, "lora_alpha": 32, "use_rslora": True},
    "patterns": {"r": 4, "lora_alpha": 8, "rank_pattern": {"o_proj": 8}, "alpha_pattern": {"o_proj": 64}},
}


def _adapter(base: Path, folder: Path, **settings: Any) -> Any:
    adapted: Any = get_peft_model(tiny_llama(), LoraConfig(target_modules=["o_proj", "q_proj", "up_proj"], **settings))
    torch.manual_seed(0)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(folder)
    return adapted


def _vllm(folder: Path) -> Tensor:
    """One alpha and one rank for all; patterns are dropped."""
    return _of_config(folder, patterns=False)


def _sglang(folder: Path) -> Tensor:
    """Patterns of ranks and alphas are read."""
    return _of_config(folder, patterns=True)


def _of_config(folder: Path, *, patterns: bool) -> Tensor:
    config = json.loads((folder / "adapter_config.json").read_text())
    rank, alpha = config["r"], config["lora_alpha"]
    if patterns:
        rank, alpha = (
            next((value for key, value in config[name].items() if MODULE.endswith(key)), usual)
            for name, usual in (("rank_pattern", rank), ("alpha_pattern", alpha))
        )
    scale = alpha / math.sqrt(rank) if config["use_rslora"] else alpha / rank
    weights = load_file(folder / "adapter_model.safetensors")
    name = f"base_model.model.{MODULE}"
    return scale * weights[f"{name}.lora_B.weight"] @ weights[f"{name}.lora_A.weight"]


def _llama_cpp(folder: Path) -> Tensor:
    """One alpha for all, by each module's own rank; 0 scales by one."""
    reader = gguf.GGUFReader(folder / "lora.gguf")
    (alpha,) = reader.fields["adapter.lora.alpha"].parts[-1].tolist()
    tensors = {tensor.name: torch.tensor(tensor.data) for tensor in reader.tensors}
    a, b = (tensors[f"blk.1.attn_output.weight.lora_{side}"] for side in "ab")
    return (alpha / b.shape[1] if alpha else 1.0) * b @ a


LOADERS: dict[str, tuple[str, Callable[[Path], Tensor]]] = {
    "vllm": ("vllm", _vllm),
    "sglang": ("peft", _sglang),
    "llama.cpp": ("gguf", _llama_cpp),
}


@pytest.mark.parametrize(("settings", "shared"), [*((name, False) for name in SETTINGS), ("patterns", True)])
@pytest.mark.parametrize("loader", LOADERS)
def test_a_loader_of_text_models_adds_what_the_adapter_adds(
    loader: str, settings: str, shared: bool, tiny_folder: Path, tmp_path: Path
) -> None:
    adapted = _adapter(tiny_folder, tmp_path / "adapter", **SETTINGS[settings])
    layout, added = LOADERS[loader]
    ps.convert(tmp_path / "adapter", tmp_path / "out", format=layout, rank=64, shared=shared)  # type: ignore[arg-type]
    wanted = adapted.get_submodule(f"base_model.model.{MODULE}").get_delta_weight("default")
    assert torch.allclose(added(tmp_path / "out"), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        (tiny_pipelines.flux2_folder, "diffusers"),
        (tiny_pipelines.flux2_folder, "comfy"),
        (tiny_pipelines.stable_diffusion_folder, "comfy"),
        (tiny_pipelines.stable_diffusion_folder, "kohya"),
    ],
)
def test_a_loader_of_image_models_adds_what_the_adapter_adds(
    make: Callable[[Path], Path], layout: str, tmp_path: Path
) -> None:
    base = make(tmp_path / "base")
    model = TextToImage().load(ModelSpec(source=str(base), device="cpu")).model
    built = build(
        model,
        MethodSpec(name="rslora", knobs={"r": 4, "lora_alpha": 32}),
        BuildContext(seed=0, max_steps=1, learning_rate=1e-3, warn=lambda line: None),
    )
    for parameter in built.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    checkpoint.save(built, tmp_path / "adapter", base=str(base))
    ps.convert(tmp_path / "adapter", tmp_path / "out", format=layout, shared=True, rank=3)  # type: ignore[arg-type]
    ps.convert(tmp_path / "adapter", tmp_path / "peft", shared=True, rank=3)
    (path,) = (tmp_path / "out").glob("*.safetensors")
    weights, wanted = load_file(path), load_file(tmp_path / "peft" / "adapter_model.safetensors")
    ranks = set()
    for name in wanted:
        if not name.endswith("lora_A.weight"):
            continue
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        delta = _product(wanted, f"base_model.model.{module}.lora_A.weight", f"base_model.model.{module}.lora_B.weight")
        part = "unet" if (base / "unet").is_dir() else "transformer"
        if part == "unet":
            key, down, up = f"lora_unet_{module.replace('.', '_')}", "lora_down.weight", "lora_up.weight"
        else:
            key, down, up = f"{part}.{module}", "lora_A.weight", "lora_B.weight"
        rank = len(weights[f"{key}.{down}"])
        ranks.add(rank)
        alpha = weights.get(f"{key}.alpha")
        assert (alpha is None) == (layout == "diffusers")
        scale = 1.0 if alpha is None else float(alpha) / rank
        assert torch.allclose(scale * _product(weights, f"{key}.{down}", f"{key}.{up}"), delta, atol=1e-5)
    assert (len(ranks) == 1) == (layout == "diffusers")  # which mis-scaled mixed ranks


def _product(weights: dict[str, Tensor], a: str, b: str) -> Tensor:
    return weights[b].flatten(1) @ weights[a].flatten(1)


def test_vllm_is_given_nothing_it_rejects(tiny_folder: Path, tmp_path: Path) -> None:
    assert [served_rank(rank) for rank in (1, 5, 16, 33, 512, 513)] == [1, 8, 16, 64, 512, None]
    _adapter(tiny_folder, tmp_path / "adapter", r=4)
    found = ps.convert(tmp_path / "adapter", tmp_path / "out", format="vllm")
    assert "--max-lora-rank 8" in found.text()
    assert "--max-lora-rank 8" in (tmp_path / "out" / "README.md").read_text()
    _adapter(tiny_folder, tmp_path / "whole", r=4, modules_to_save=["model.norm"])
    for layout in ("vllm", "gguf"):
        with pytest.raises(MethodRefused, match=r"model\.norm\.weight: changed.*Take the format peft"):
            ps.convert(tmp_path / "whole", tmp_path / "not", format=layout)  # type: ignore[arg-type]
    carried = ps.convert(tmp_path / "whole", tmp_path / "carried")
    assert carried.conversion.wholes == ("model.norm.weight",)
    assert "1 parameters are carried whole" in carried.text()
    assert carried.conversion.output_error is not None
    assert carried.conversion.output_error < 1e-3
    with pytest.raises(ModelError, match="formats peft and gguf"):
        ps.convert(tmp_path / "adapter", tmp_path / "not", format="comfy")
