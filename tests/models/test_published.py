"""Checkpoints that are published quantized: what their weights take packed, against the sizes of published files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import peftscope as ps
from peftscope.models.kinds.causal_lm.empty import read_config
from peftscope.models.kinds.causal_lm.profile import CausalLMProfile
from peftscope.models.published import published_format

LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
}
GPT_OSS_20B: dict[str, Any] = {
    "model_type": "gpt_oss",
    "architectures": ["GptOssForCausalLM"],
    "hidden_size": 2880,
    "num_hidden_layers": 24,
    "intermediate_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_local_experts": 32,
    "vocab_size": 201088,
    "tie_word_embeddings": False,
}


def profile(folder: Path, settings: dict[str, Any], quantization: dict[str, Any] | None) -> CausalLMProfile:
    path = folder / "config.json"
    more = {} if quantization is None else {"quantization_config": quantization}
    path.write_text(json.dumps(settings | more), encoding="utf-8")
    return CausalLMProfile(config=read_config(str(path)), dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("settings", "quantization", "gigabytes"),
    [
        # Sizes of the weight files, from their pages: openai/gpt-oss-20b, GPTQ and AWQ versions of Llama-3.1-8B in 4
        # bits with groups of 128, and RedHatAI's FP8 version.
        (GPT_OSS_20B, {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}, 13.76),
        (LLAMA_8B, {"quant_method": "gptq", "bits": 4, "group_size": 128}, 5.74),
        (LLAMA_8B, {"quant_method": "awq", "bits": 4, "group_size": 128}, 5.74),
        (
            LLAMA_8B,
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "group_size": None}, "targets": ["Linear"]}},
                "ignore": ["lm_head"],
            },
            9.08,
        ),
    ],
    ids=["mxfp4", "gptq", "awq", "compressed-tensors"],
)
def test_packed_weights_take_what_the_published_files_take(
    tmp_path: Path, settings: dict[str, Any], quantization: dict[str, Any], gigabytes: float
) -> None:
    found = profile(tmp_path, settings, quantization)
    form = published_format(found.config)
    assert form is not None
    packed = form.packed_bytes(found.base())
    assert packed is not None
    assert packed / 1e9 == pytest.approx(gigabytes, rel=0.01)
    (note,) = found.notes()
    assert f"published in {quantization['quant_method']}" in note
    assert f"{packed / 1e9:.1f} GB" in note


def test_layers_that_a_format_leaves_out_keep_their_type(tmp_path: Path) -> None:
    group = {"group_0": {"weights": {"num_bits": 8, "group_size": None}, "targets": ["Linear"]}}
    settings = {"quant_method": "compressed-tensors", "config_groups": group}
    all_of_them = profile(tmp_path, LLAMA_8B, settings)
    some = profile(tmp_path, LLAMA_8B, settings | {"ignore": ["re:.*mlp.*"]})
    sizes = [published_format(each.config).packed_bytes(each.base()) for each in (all_of_them, some)]  # type: ignore[union-attr]
    assert sizes[1] - sizes[0] == 32 * 3 * 4096 * 14336  # type: ignore[operator]


def test_a_format_that_is_not_known_is_counted_unpacked_and_said(tmp_path: Path) -> None:
    found = profile(tmp_path, LLAMA_8B, {"quant_method": "spqr", "bits": 3})
    assert "16.1 GB; what they take packed, its config does not tell" in found.notes()[0]


def test_a_checkpoint_that_is_not_quantized_has_no_note(tmp_path: Path) -> None:
    assert profile(tmp_path, LLAMA_8B, None).notes() == []


def test_a_plan_of_a_published_quantized_model_has_figures_and_the_note(tmp_path: Path) -> None:
    small = {**LLAMA_8B, "num_hidden_layers": 2, "hidden_size": 256, "intermediate_size": 512, "vocab_size": 1000}
    path = tmp_path / "model.json"
    path.write_text(
        json.dumps(small | {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}})
    )
    found = ps.predict_memory(str(path), ["lora"], quiet=True)
    assert not found.is_empty
    assert any("published in fp8" in line for line in found.warnings)


def test_experts_that_bitsandbytes_leaves_unpacked_are_said(tmp_path: Path) -> None:
    found = profile(tmp_path, GPT_OSS_20B, None)
    nf4 = CausalLMProfile(config=found.config, dtype=torch.bfloat16, quantization="nf4")
    assert "packs no experts whose weights are fused; 38.2 GB of them stay" in nf4.notes()[0]
