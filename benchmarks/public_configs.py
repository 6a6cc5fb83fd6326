"""What ``plan`` says of twenty published models from 1 to 700 billion parameters, from their configs alone.

    python benchmarks/public_configs.py [NAME ...]     writes public_configs.md beside this file; twenty minutes

The settings are those of the models' public config.json files, the counts of parameters those of their model cards or
weight files. With names only those are planned, and printed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import peftscope

HERE = Path(__file__).resolve().parent
LENGTH = 512


def llama(width: int, blocks: int, inner: int, heads: int, keys: int, words: int, **more: Any) -> dict[str, Any]:
    """Settings that most decoders share, under Llama's names."""
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": width,
        "num_hidden_layers": blocks,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "vocab_size": words,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
        **more,
    }


def of(model_type: str, architecture: str, **more: Any) -> dict[str, Any]:
    """What says which model it is."""
    return {"model_type": model_type, "architectures": [architecture], **more}


GPT_OSS: dict[str, Any] = of(
    "gpt_oss",
    "GptOssForCausalLM",
    hidden_size=2880,
    intermediate_size=2880,
    num_attention_heads=64,
    num_key_value_heads=8,
    head_dim=64,
    vocab_size=201088,
    num_experts_per_tok=4,
    sliding_window=128,
    tie_word_embeddings=False,
    quantization_config={
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens"],
    },
)

CONFIGS: dict[str, tuple[float, dict[str, Any]]] = {
    "Llama-3.2-1B": (1.2358, llama(2048, 16, 8192, 32, 8, 128256, head_dim=64, tie_word_embeddings=True)),
    "Qwen2.5-1.5B": (
        1.5437,
        llama(1536, 28, 8960, 12, 2, 151936, **of("qwen2", "Qwen2ForCausalLM"), tie_word_embeddings=True),
    ),
    "gemma-2-2b": (
        2.6143,
        llama(
            2304, 26, 9216, 8, 4, 256000, **of("gemma2", "Gemma2ForCausalLM"), head_dim=256, tie_word_embeddings=True
        ),
    ),
    "mamba-2.8b": (
        2.7683,
        of("mamba", "MambaForCausalLM", hidden_size=2560, num_hidden_layers=64, state_size=16, vocab_size=50280),
    ),
    "Phi-3-mini": (3.8211, llama(3072, 32, 8192, 32, 32, 32064, **of("phi3", "Phi3ForCausalLM"))),
    "Qwen3-4B": (
        4.0225,
        llama(2560, 36, 9728, 32, 8, 151936, **of("qwen3", "Qwen3ForCausalLM"), head_dim=128, tie_word_embeddings=True),
    ),
    "falcon-7b": (
        6.9217,
        of(
            "falcon",
            "FalconForCausalLM",
            hidden_size=4544,
            num_hidden_layers=32,
            num_attention_heads=71,
            vocab_size=65024,
            multi_query=True,
            parallel_attn=True,
            bias=False,
            new_decoder_architecture=False,
        ),
    ),
    "Mistral-7B-v0.3": (7.2480, llama(4096, 32, 14336, 32, 8, 32768, **of("mistral", "MistralForCausalLM"))),
    "Llama-3.1-8B": (8.0303, llama(4096, 32, 14336, 32, 8, 128256)),
    "gemma-3-12b": (
        12.187,
        of(
            "gemma3",
            "Gemma3ForConditionalGeneration",
            text_config={
                "hidden_size": 3840,
                "num_hidden_layers": 48,
                "intermediate_size": 15360,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "head_dim": 256,
                "vocab_size": 262208,
            },
            vision_config={
                "hidden_size": 1152,
                "num_hidden_layers": 27,
                "intermediate_size": 4304,
                "num_attention_heads": 16,
                "image_size": 896,
                "patch_size": 14,
                "vision_use_head": False,
            },
        ),
    ),
    "phi-4": (14.6595, llama(5120, 40, 17920, 40, 10, 100352, **of("phi3", "Phi3ForCausalLM"))),
    "gpt-oss-20b": (20.9148, {**GPT_OSS, "num_hidden_layers": 24, "num_local_experts": 32}),
    "Qwen3-30B-A3B": (
        30.5321,
        llama(
            2048,
            48,
            6144,
            32,
            4,
            151936,
            **of("qwen3_moe", "Qwen3MoeForCausalLM"),
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            moe_intermediate_size=768,
        ),
    ),
    "Mixtral-8x7B": (
        46.7028,
        llama(
            4096,
            32,
            14336,
            32,
            8,
            32000,
            **of("mixtral", "MixtralForCausalLM"),
            num_local_experts=8,
            num_experts_per_tok=2,
        ),
    ),
    "Llama-3.1-70B": (70.5537, llama(8192, 80, 28672, 64, 8, 128256)),
    "Qwen2.5-72B": (72.7062, llama(8192, 80, 29568, 64, 8, 152064, **of("qwen2", "Qwen2ForCausalLM"))),
    "Llama-4-Scout": (
        108.64,
        of(
            "llama4",
            "Llama4ForConditionalGeneration",
            text_config={
                "hidden_size": 5120,
                "num_hidden_layers": 48,
                "intermediate_size": 8192,
                "intermediate_size_mlp": 16384,
                "num_attention_heads": 40,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "num_local_experts": 16,
                "num_experts_per_tok": 1,
                "interleave_moe_layer_step": 1,
                "vocab_size": 202048,
            },
            vision_config={
                "hidden_size": 1408,
                "num_hidden_layers": 34,
                "intermediate_size": 5632,
                "num_attention_heads": 16,
                "image_size": 336,
                "patch_size": 14,
                "projector_input_dim": 4096,
                "projector_output_dim": 4096,
                "vision_output_dim": 4096,
                "pixel_shuffle_ratio": 0.5,
            },
        ),
    ),
    "gpt-oss-120b": (116.829, {**GPT_OSS, "num_hidden_layers": 36, "num_local_experts": 128}),
    "Llama-3.1-405B": (405.8535, llama(16384, 126, 53248, 128, 8, 128256)),
    "DeepSeek-V3": (
        671.0264,
        of(
            "deepseek_v3",
            "DeepseekV3ForCausalLM",
            hidden_size=7168,
            num_hidden_layers=61,
            intermediate_size=18432,
            moe_intermediate_size=2048,
            num_attention_heads=128,
            num_key_value_heads=128,
            n_routed_experts=256,
            n_shared_experts=1,
            num_experts_per_tok=8,
            n_group=8,
            topk_group=4,
            first_k_dense_replace=3,
            q_lora_rank=1536,
            kv_lora_rank=512,
            qk_nope_head_dim=128,
            qk_rope_head_dim=64,
            v_head_dim=128,
            vocab_size=129280,
            max_position_embeddings=163840,
            tie_word_embeddings=False,
            quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]},
        ),
    ),
}
"""By name: billions of parameters as published, and the config."""


def planned(name: str, folder: Path) -> tuple[list[str], list[str]]:
    """A row of the table, and the reasons for what is missing."""
    published, settings = CONFIGS[name]
    path = folder / f"{name}.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    started = time.perf_counter()
    found = peftscope.predict_memory(str(path), batch_size=1, seq_len=LENGTH, quiet=True)
    seconds = time.perf_counter() - started
    entries = {entry["name"]: entry for entry in found.document()["methods"]}
    silent = [n for n, e in entries.items() if e["peak_eval_bytes"] is None and e["reason"] is None]
    assert not silent, f"neither figure nor reason: {silent}"
    reasons: dict[str, list[str]] = {}
    for method, entry in entries.items():
        if entry["reason"] is not None:
            reasons.setdefault(entry["reason"].removeprefix(f"{method} ").removeprefix(f"{method}: "), []).append(
                method
            )
    lora = entries["lora"]
    counted = (lora["total_params"] - lora["trainable_params"]) / 1e9
    figures = sum(entry["reason"] is None for entry in entries.values())
    row = [
        name,
        f"{published:,.2f}",
        f"{counted:,.2f}",
        f"{100 * (counted / published - 1):+.2f} %",
        f"{lora['trainable_params'] / 1e6:,.1f}",
        f"{lora['peak_train_bytes'] / 1e9:,.1f}",
        f"{figures} of {len(entries)}",
        f"{seconds:.0f}",
    ]
    of_base = [note for note in found.warnings if note.startswith(("published", "not adapted"))]
    told = [f"{', '.join(who)}: {reason}" for reason, who in reasons.items()]
    return row, [f"- {name}: {line}" for line in (*told, *of_base)]


def main(names: list[str]) -> None:
    """Plan them and write, or print, the table."""
    rows, reasons = [], []
    for name in names or CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            row, more = planned(name, Path(folder))
        rows.append(f"| {' | '.join(row)} |")
        reasons += more
        print(rows[-1], *more, sep="\n", flush=True)
    if names:
        return
    text = f"""# Twenty published models, planned from their configs

Written by `benchmarks/public_configs.py` (peft {version("peft")}, transformers {version("transformers")}): one
method for each type that peft has, a batch of one with {LENGTH} tokens, bfloat16. Parameters in billions, LoRA's in
millions, its peak in training in GB, the time for all methods of a model in seconds on two cores.

Of Llama 4 transformers loads the text part alone, without the 0.87 billion of its vision tower. Where blocks do not
repeat often enough for a few to stand for all (Gemma 3: periods of six), or a reference path goes token by token
(Mamba), counting takes minutes for all methods and seconds for one.

| model | published | counted | apart | LoRA's | GB to train | methods with a figure | seconds |
| --- | --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(rows)}

## Reasons and notes

{chr(10).join(reasons)}
"""
    (HERE / "public_configs.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
