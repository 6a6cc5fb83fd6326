"""A LoRA in GGUF, on a model in GGUF, in the real llama.cpp: what transformers puts out with the original adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from llama_server import LlamaCpp
from peft import LoraConfig, OFTConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

import peftscope as ps
from peftscope.errors import MethodRefused, ModelError
from peftscope.methods import checkpoint
from peftscope.methods.build import BuildContext, build
from peftscope.models.gguf_layout import ARCHITECTURES
from peftscope.models.kinds.causal_lm.generation import greedy_tokens
from peftscope.models.kinds.registry import kind
from peftscope.schema.study import MethodSpec, ModelSpec
from tiny import tiny_tokenizer
from tiny_gguf import VOCABULARY, logprobs, write_gguf

pytestmark = [pytest.mark.filterwarnings("ignore")]

PROMPT = [5, 9, 17, 33, 64]
SMALL = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": len(VOCABULARY), "max_position_embeddings": 128, "bos_token_id": 0,
    "eos_token_id": 1, "pad_token_id": 1,
}  # fmt: skip
QUICK = {"gemma2", "gpt2", "llama", "qwen2"}
OWN: dict[str, dict[str, Any]] = {
    "gpt2": {
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 4,
        "num_key_value_heads": 4,
        "n_positions": 128,
        "intermediate_size": 256,
    },
    "gemma": {"head_dim": 32},
    "gemma2": {"head_dim": 32, "query_pre_attn_scalar": 32},
    "gemma3_text": {"head_dim": 32, "query_pre_attn_scalar": 32},
    "qwen3": {"head_dim": 32},
}


def _base(folder: Path, model_type: str, **settings: Any) -> Path:
    """A model whose outputs differ from token to token."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **{**SMALL, **OWN.get(model_type, {}), **settings})
    model = AutoModelForCausalLM.from_config(config).float()
    for parameter in model.parameters():
        parameter.data = (
            parameter.data * 5 if parameter.ndim > 1 else parameter.data + 0.2 * torch.randn_like(parameter)
        )
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def _loaded(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def _adapter(base: Path, folder: Path, config: Any) -> nn.Module:
    adapted: Any = get_peft_model(_loaded(base), config)
    torch.manual_seed(1)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    adapted.save_pretrained(folder)
    return adapted.eval()  # type: ignore[no-any-return]


def _far(given: dict[int, float], wanted: torch.Tensor) -> float:
    return max(abs(float(wanted[token]) - value) for token, value in given.items())


@pytest.mark.parametrize(
    "model_type",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in sorted(ARCHITECTURES)],
)
def test_llama_cpp_puts_out_what_the_adapter_does(model_type: str, tmp_path: Path) -> None:
    base = _base(tmp_path / "base", model_type)
    config = LoraConfig(
        r=4, use_rslora=True, lora_alpha=16, target_modules="all-linear", fan_in_fan_out=model_type == "gpt2"
    )
    adapted = _adapter(base, tmp_path / "adapter", config)
    for name, options in {"even": {}, "shared": {"rank": 3, "shared": True}}.items():
        found = ps.convert(tmp_path / "adapter", tmp_path / name, format="gguf", **options)
        model = write_gguf(_loaded(base), tmp_path / f"{name}.gguf")
        with_lora = LlamaCpp(model, tmp_path / name / "lora.gguf").logprobs(PROMPT, 20)
        if name == "even":
            wanted = logprobs(adapted, PROMPT)
            assert _far(with_lora, logprobs(_loaded(base), PROMPT)) > 0.1
        else:
            assert len({layer.rank for layer in found.conversion.layers}) > 1
            ps.convert(tmp_path / "adapter", tmp_path / "peft", **options)
            from peft import PeftModel

            wanted = logprobs(PeftModel.from_pretrained(_loaded(base), str(tmp_path / "peft")), PROMPT)
        assert _far(with_lora, wanted) < 0.01  # its cache of keys and values is of half precision


def test_an_embedding_that_is_not_tied_is_looked_up_in_it(tmp_path: Path) -> None:
    config = LoraConfig(r=4, target_modules=["embed_tokens", "v_proj", "lm_head"])
    base = _base(tmp_path / "base", "llama")
    adapted = _adapter(base, tmp_path / "adapter", config)
    ps.convert(tmp_path / "adapter", tmp_path / "out", format="gguf")
    model = write_gguf(_loaded(base), tmp_path / "model.gguf")
    given = LlamaCpp(model, tmp_path / "out" / "lora.gguf").logprobs(PROMPT, 20)
    assert _far(given, logprobs(adapted, PROMPT)) < 0.01
    tied = _base(tmp_path / "tied", "llama", tie_word_embeddings=True)
    _adapter(tied, tmp_path / "of-tied", config)
    with pytest.raises(MethodRefused, match=r"no LoRA on model\.embed_tokens, lm_head of such a model.*peft"):
        ps.convert(tmp_path / "of-tied", tmp_path / "not", format="gguf")


def test_a_model_that_was_not_seen_there_is_refused_before_anything_is_converted(tmp_path: Path) -> None:
    base = _base(tmp_path / "base", "olmo")
    _adapter(base, tmp_path / "adapter", OFTConfig(oft_block_size=8, target_modules=["q_proj"]))
    with pytest.raises(ModelError, match=r"format gguf is written for .*llama.*, not for olmo; take the format peft"):
        ps.convert(tmp_path / "adapter", tmp_path / "out", format="gguf")
    assert not (tmp_path / "out").exists()


def test_a_whole_gguf_model_is_written_from_a_base_in_gguf(tmp_path: Path) -> None:
    base = _base(tmp_path / "base", "llama")
    adapted = _adapter(base, tmp_path / "adapter", OFTConfig(oft_block_size=8, target_modules="all-linear"))
    model = write_gguf(_loaded(base), tmp_path / "model.gguf", alignment=64)
    with pytest.raises(ModelError, match=r"base's own GGUF file.*convert_hf_to_gguf"):
        ps.convert(tmp_path / "adapter", tmp_path / "not", format="merged-gguf")
    found = ps.convert(tmp_path / "adapter", tmp_path / "out", model=str(model), format="merged-gguf")
    assert found.conversion.output_error is not None
    assert found.conversion.output_error < 1e-3
    given = LlamaCpp(tmp_path / "out" / "model.gguf").logprobs(PROMPT, 20)
    assert _far(given, logprobs(adapted, PROMPT)) < 0.01


TEXTS = [
    "The capital of France is", "Question: Tom has 3 apples and buys 4 more. How many has he?\nAnswer:",
    "Once upon a time there was", "Water boils at a temperature of", "def add(a, b):\n    return", "My name is",
]  # fmt: skip
CONTINUED = 10


@pytest.mark.slow
def test_a_real_model_says_the_same_in_llama_cpp_as_with_the_adapter(tmp_path: Path) -> None:
    spec = ModelSpec(source="builtin:smollm2-135m", dtype="float32", device="cpu")
    causal = kind("causal-lm")
    loaded = causal.load(spec)
    causal.write_gguf(loaded, spec, tmp_path / "base.gguf")
    prompts = [loaded.processor(text)["input_ids"] for text in TEXTS]
    plain = _continued(loaded.model, prompts)
    assert [LlamaCpp(tmp_path / "base.gguf").continued(prompt, CONTINUED) for prompt in prompts[:2]] == plain[:2]
    context = BuildContext(seed=0, max_steps=1, learning_rate=1e-3, warn=lambda line: None)
    built = build(loaded.model, MethodSpec(name="dora"), context)
    torch.manual_seed(0)
    for parameter in built.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.01 * torch.randn_like(parameter)
    checkpoint.save(built, tmp_path / "adapter", base=spec.source)
    wanted = _continued(built.model, prompts)
    ps.convert(tmp_path / "adapter", tmp_path / "out", format="gguf", rank=64)
    server = LlamaCpp(tmp_path / "base.gguf", tmp_path / "out" / "lora.gguf")
    given = [server.continued(prompt, CONTINUED) for prompt in prompts]
    same = [a == b for one, other in zip(wanted, given, strict=True) for a, b in zip(one, other, strict=True)]
    moved = [a == b for one, other in zip(wanted, plain, strict=True) for a, b in zip(one, other, strict=True)]
    assert sum(moved) < 0.9 * len(moved)
    assert sum(same) >= 0.95 * len(same)


def _continued(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        tokens = greedy_tokens(
            model.eval(), ids, torch.ones_like(ids), max_new_tokens=CONTINUED, eos_token_id=None, pad_token_id=0
        )
        found.append(tokens[0].tolist()[:CONTINUED])
    return found
