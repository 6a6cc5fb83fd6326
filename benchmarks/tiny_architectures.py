"""Random models of a hundred thousand weights, one for each way in which architectures differ.

The vocabulary and the tokenizer are those of the built-in ``nano-lm``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as T
from transformers import PreTrainedModel

import peftscope

__all__ = ["ARCHITECTURES", "save_tiny"]

TOKENIZER = Path(peftscope.__file__).parent / "models" / "nano_lm"
WORDS = 1280
SPECIAL = {"vocab_size": WORDS, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
SIZES: dict[str, Any] = {
    **SPECIAL,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
GROUPED: dict[str, Any] = {**SIZES, "num_key_value_heads": 2}
WIDE_HEADS: dict[str, Any] = {**GROUPED, "head_dim": 32}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LINEAR_ATTENTION: dict[str, Any] = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
IMAGE_TOKENS: dict[str, Any] = {"boi_token_index": 1270, "eoi_token_index": 1271, "image_token_index": 1272}
MLA: dict[str, Any] = {
    "kv_lora_rank": 16,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "qk_nope_head_dim": 16,
}

ARCHITECTURES: dict[str, tuple[str, Callable[[], PreTrainedModel]]] = {
    "llama": ("dense", lambda: T.LlamaForCausalLM(T.LlamaConfig(**GROUPED))),
    "qwen3": ("dense", lambda: T.Qwen3ForCausalLM(T.Qwen3Config(**WIDE_HEADS))),
    "gemma2": (
        "dense",
        lambda: T.Gemma2ForCausalLM(T.Gemma2Config(**WIDE_HEADS, sliding_window=16, query_pre_attn_scalar=32)),
    ),
    "opt": (
        "dense, learned positions",
        lambda: T.OPTForCausalLM(
            T.OPTConfig(
                **SPECIAL,
                hidden_size=64,
                ffn_dim=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=512,
                word_embed_proj_dim=64,
            )
        ),
    ),
    "phi3": ("fused projections", lambda: T.Phi3ForCausalLM(T.Phi3Config(**GROUPED))),
    "gpt-neox": ("fused projections", lambda: T.GPTNeoXForCausalLM(T.GPTNeoXConfig(**SIZES))),
    "falcon": (
        "fused, one key head",
        lambda: T.FalconForCausalLM(
            T.FalconConfig(**SPECIAL, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, multi_query=True)
        ),
    ),
    "gpt2": (
        "GPT-2 style",
        lambda: T.GPT2LMHeadModel(T.GPT2Config(**SPECIAL, n_embd=64, n_layer=2, n_head=4, n_positions=512)),
    ),
    "mixtral": (
        "experts",
        lambda: T.MixtralForCausalLM(T.MixtralConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2)),
    ),
    "qwen3-moe": ("experts", lambda: T.Qwen3MoeForCausalLM(T.Qwen3MoeConfig(**WIDE_HEADS, **EXPERTS))),
    "gpt-oss": (
        "experts with biases",
        lambda: T.GptOssForCausalLM(
            T.GptOssConfig(
                **{**WIDE_HEADS, "intermediate_size": 64},
                num_local_experts=4,
                num_experts_per_tok=2,
                sliding_window=16,
                layer_types=["sliding_attention", "full_attention"],
            )
        ),
    ),
    "qwen2-moe": (
        "experts and shared ones",
        lambda: T.Qwen2MoeForCausalLM(T.Qwen2MoeConfig(**GROUPED, **EXPERTS, shared_expert_intermediate_size=32)),
    ),
    "deepseek-v3": (
        "experts and shared ones",
        lambda: T.DeepseekV3ForCausalLM(
            T.DeepseekV3Config(
                **SIZES,
                **MLA,
                num_key_value_heads=4,
                moe_intermediate_size=32,
                n_routed_experts=4,
                n_shared_experts=1,
                num_experts_per_tok=2,
                n_group=1,
                topk_group=1,
                first_k_dense_replace=1,
            )
        ),
    ),
    "mamba": (
        "state space",
        lambda: T.MambaForCausalLM(
            T.MambaConfig(**SPECIAL, hidden_size=64, num_hidden_layers=2, state_size=8, expand=2)
        ),
    ),
    "falcon-h1": (
        "hybrid",
        lambda: T.FalconH1ForCausalLM(
            T.FalconH1Config(
                **GROUPED,
                mamba_d_ssm=64,
                mamba_n_heads=4,
                mamba_d_head=16,
                mamba_n_groups=1,
                mamba_d_state=16,
                mamba_chunk_size=16,
            )
        ),
    ),
    "nemotron-h": (
        "hybrid",
        lambda: T.NemotronHForCausalLM(
            T.NemotronHConfig(
                **{**GROUPED, "num_hidden_layers": 4},
                head_dim=16,
                mamba_num_heads=8,
                mamba_head_dim=16,
                ssm_state_size=8,
                n_groups=1,
                layers_block_type=["mamba", "mlp", "attention", "mamba"],
            )
        ),
    ),
    "qwen3-next": (
        "hybrid with experts",
        lambda: T.Qwen3NextForCausalLM(
            T.Qwen3NextConfig(**WIDE_HEADS, **LINEAR_ATTENTION, **EXPERTS, shared_expert_intermediate_size=32)
        ),
    ),
    "gemma3": (
        "multimodal",
        lambda: T.Gemma3ForConditionalGeneration(
            T.Gemma3Config(
                text_config={**WIDE_HEADS, "sliding_window": 16, "query_pre_attn_scalar": 32},
                vision_config={**VISION, "vision_use_head": False},
                mm_tokens_per_image=1,
                **IMAGE_TOKENS,
                **{name: SPECIAL[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
            )
        ),
    ),
    "llama4": (
        "multimodal with experts",
        lambda: T.Llama4ForConditionalGeneration(
            T.Llama4Config(
                text_config={
                    **GROUPED,
                    "intermediate_size": 64,
                    "intermediate_size_mlp": 128,
                    "head_dim": 16,
                    "num_local_experts": 2,
                    "num_experts_per_tok": 1,
                    "attention_chunk_size": 128,
                },
                vision_config={
                    **VISION,
                    "intermediate_size": 128,
                    "vision_output_dim": 64,
                    "projector_input_dim": 64,
                    "projector_output_dim": 64,
                    "pixel_shuffle_ratio": 0.5,
                },
                **IMAGE_TOKENS,
                **{name: SPECIAL[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
            )
        ),
    ),
    "qwen3.5": (
        "multimodal, hybrid",
        lambda: T.Qwen3_5ForConditionalGeneration(
            T.Qwen3_5Config(
                text_config={**WIDE_HEADS, **LINEAR_ATTENTION},
                vision_config={
                    "depth": 2,
                    "hidden_size": 32,
                    "intermediate_size": 64,
                    "num_heads": 2,
                    "out_hidden_size": 64,
                    "patch_size": 14,
                    "spatial_merge_size": 2,
                    "temporal_patch_size": 2,
                    "num_position_embeddings": 64,
                },
                image_token_id=1270,
                video_token_id=1271,
                vision_start_token_id=1272,
                vision_end_token_id=1273,
            )
        ),
    ),
    "t5": (
        "encoder–decoder",
        lambda: T.T5ForConditionalGeneration(
            T.T5Config(
                vocab_size=WORDS,
                d_model=64,
                d_kv=16,
                d_ff=128,
                num_layers=2,
                num_heads=4,
                eos_token_id=1,
                pad_token_id=2,
                decoder_start_token_id=2,
            )
        ),
    ),
}
"""By name: in what it differs, and the model."""


def save_tiny(name: str, folder: Path) -> Path:
    """Write a model and a tokenizer into a folder, as a user would have them."""
    torch.manual_seed(0)
    ARCHITECTURES[name][1]().save_pretrained(folder)
    shutil.copy(TOKENIZER / "tokenizer.json", folder)
    settings = json.loads((TOKENIZER / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 512}), encoding="utf-8")
    return folder
