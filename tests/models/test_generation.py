from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from peft import (
    AdaptionPromptConfig,
    CartridgeConfig,
    CPTConfig,
    LoraConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from torch import nn
from transformers import LlamaForCausalLM

from peftscope.errors import DataError
from peftscope.models.kinds.causal_lm.generation import Generated, TextGenerator
from peftscope.models.kinds.causal_lm.latency import decode_latency
from tiny import tiny_tokenizer

METHODS: dict[str, Callable[[], Any]] = {
    "lora": lambda: LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"]),
    "prompt-tuning": lambda: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "p-tuning": lambda: PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, encoder_hidden_size=16),
    "prefix-tuning": lambda: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "prefix-projection": lambda: PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=5, prefix_projection=True, encoder_hidden_size=32
    ),
    "adaption-prompt": lambda: AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_len=4, adapter_layers=2),
    "cartridge": lambda: CartridgeConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "cpt": lambda: CPTConfig(
        task_type="CAUSAL_LM", cpt_token_ids=[3, 4, 5, 6], cpt_mask=[1] * 4, cpt_tokens_type_mask=[1, 2, 3, 4]
    ),
}

PROMPTS = [
    "What is 2 + 2?",
    "a",
    "Five words in a row, then more.",
    "Why?",
    "one two",
    "The end is near, is it?",
]


def with_method(model: LlamaForCausalLM, name: str) -> nn.Module:
    """The model with an adapter that has visibly moved."""
    if name == "plain":
        return model
    adapted = get_peft_model(model, METHODS[name]())
    torch.manual_seed(1)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3)
    return adapted


def decode(model: nn.Module, tokenizer: Any, prompts: list[str] = PROMPTS, **limits: Any) -> list[Generated]:
    settings = {"max_new_tokens": 12, "max_length": None, "batch_size": 3} | limits
    return TextGenerator(tokenizer, torch.device("cpu"))(model, prompts, **settings)


def greedy_by_hand(model: nn.Module, tokenizer: Any, prompt: str, num_tokens: int) -> list[int]:
    """Ids for one prompt, no padding, no cache, through the forward pass that training takes."""
    ids = tokenizer(prompt).input_ids
    start = len(ids)
    while len(ids) < start + num_tokens and tokenizer.eos_token_id not in ids:
        row = torch.tensor([ids])
        with torch.no_grad():
            logits = model(input_ids=row, attention_mask=torch.ones_like(row)).logits
        ids = [*ids, int(logits[0, -1].argmax())]
    return list(ids[start:])


@pytest.mark.parametrize("name", ["plain", *METHODS])
def test_batched_generation_matches_unbatched_greedy_decoding_with_the_training_forward(
    llama: LlamaForCausalLM, tokenizer: Any, name: str
) -> None:
    base = [answer.text for answer in decode(llama, tokenizer)]
    model = with_method(llama, name).eval()
    ids = [greedy_by_hand(model, tokenizer, prompt, 12) for prompt in PROMPTS]
    expected = tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert [answer.text for answer in decode(model, tokenizer)] == expected
    assert [answer.text for answer in decode(model, tokenizer, batch_size=1)] == expected
    assert (expected != base) == (name != "plain")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pad", ["none", "eos", "own"])
def test_the_tokenizers_padding_settings_change_nothing(
    llama: LlamaForCausalLM, tokenizer: Any, side: str, pad: Literal["none", "eos", "own"]
) -> None:
    other = tiny_tokenizer(pad=pad, padding_side=side)
    assert decode(llama, other) == decode(llama, tokenizer)


def test_both_generation_limits_apply_to_each_prompt_separately(llama: LlamaForCausalLM, tokenizer: Any) -> None:
    llama.generation_config.eos_token_id = None
    tokenizer.eos_token = None
    prompts = ["a" * 3, "b" * 9, "c" * 13]  # and a BOS
    answers = decode(llama, tokenizer, prompts, max_new_tokens=8, max_length=16)
    assert [answer.num_tokens for answer in answers] == [8, 6, 2]
    assert all(answer.truncated for answer in answers)
    alone = [decode(llama, tokenizer, [p], max_new_tokens=8, max_length=16)[0] for p in prompts]
    assert answers == alone


def test_a_prompt_that_leaves_no_tokens_for_an_answer_is_rejected(llama: LlamaForCausalLM, tokenizer: Any) -> None:
    with pytest.raises(DataError, match="prompt 1 has 16 tokens; max_length 16"):
        decode(llama, tokenizer, ["a", "b" * 15], max_length=16)
    with pytest.raises(DataError, match="prompt 0 is empty"):
        decode(llama, tiny_tokenizer(bos=False), [""])
    assert decode(llama, tokenizer, []) == []


def test_an_answer_that_ends_with_eos_is_not_truncated(llama: LlamaForCausalLM, tokenizer: Any) -> None:
    full = decode(llama, tokenizer, ["What is 2 + 2?"])[0]
    ids = greedy_by_hand(llama, tokenizer, "What is 2 + 2?", 12)
    # The author of the model lists a second end, which is the third token of the answer.
    llama.generation_config.eos_token_id = [1, ids[2]]
    answer = decode(llama, tokenizer, ["What is 2 + 2?"])[0]
    assert not answer.truncated
    assert answer.num_tokens == ids.index(ids[2]) + 1
    assert full.truncated
    assert full.num_tokens == 12


def test_decoding_stops_when_all_rows_are_done(
    llama: LlamaForCausalLM, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (llama.generation_config.eos_token_id,) = greedy_by_hand(llama, tokenizer, "Why?", 1)
    calls = []
    forward = llama.forward
    monkeypatch.setattr(llama, "forward", lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs))
    decode(llama, tokenizer, ["Why?", "Why?"], max_new_tokens=50)
    assert len(calls) == 2  # the prompts together, and one of them without a cache, to compare


@pytest.mark.parametrize("name", ["plain", "lora", "prompt-tuning", "prefix-tuning"])
def test_evaluation_restores_training_mode_and_ignores_dropout(
    llama: LlamaForCausalLM, tokenizer: Any, name: str
) -> None:
    model: Any = with_method(llama, name).eval()
    expected = decode(model, tokenizer)
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.9
    llama.config.use_cache = False
    llama.gradient_checkpointing_enable()
    llama.enable_input_require_grads()
    model.train()
    llama.model.norm.eval()
    modes = [module.training for module in model.modules()]
    wants_grad = [parameter.requires_grad for parameter in model.parameters()]
    assert decode(model, tokenizer) == expected
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wants_grad
    assert llama.config.use_cache is False
    assert llama.is_gradient_checkpointing
    if name != "prefix-tuning":  # which cannot be trained with checkpointing
        ids = torch.tensor([[5, 6, 7]])
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()


@pytest.mark.parametrize("name", ["plain", *METHODS])
def test_latency_is_the_time_of_one_decode_step(
    llama: LlamaForCausalLM, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = with_method(llama, name)
    model.train()
    lengths = []
    attention = llama.model.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(args[0].shape[:2]), with_kwargs=True
    )
    seconds = decode_latency(model, batch_size=2, prompt_tokens=8, steps=4, warmup=2)
    attention.remove()
    assert 0 < seconds < 5
    # One prefill, then one token at a time for both rows: the cache was used and no row ended early.
    assert [tuple(shape) for shape in lengths[1:]] == [(2, 1)] * 6
    assert model.training


def test_latency_leaves_out_prefill_and_warm_up(llama: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0, 120.0, 121.0, 122.0, 125.0])
    monkeypatch.setattr("peftscope.models.kinds.causal_lm.latency.time.perf_counter", lambda: next(clock))
    assert decode_latency(llama, batch_size=1, prompt_tokens=4, steps=3, warmup=2) == 1.0
