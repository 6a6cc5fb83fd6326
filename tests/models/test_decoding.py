from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peft import (
    IA3Config,
    LoraConfig,
    OFTConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, LlamaForCausalLM

from peftscope.models.kinds.causal_lm.decoding import engine, packing, prefill
from peftscope.models.kinds.causal_lm.generation import WAYS, Generated, Reference, TextGenerator
from peftscope.models.kinds.causal_lm.kind import CausalLM
from peftscope.models.kinds.causal_lm.loss import token_losses

SMALL: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
    "initializer_range": 0.2,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "gemma2": {"sliding_window": 8, "query_pre_attn_scalar": 16},
    "gemma3_text": {"sliding_window": 8, "sliding_window_pattern": 2, "query_pre_attn_scalar": 16},
    "mistral": {"sliding_window": 6},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "bloom": {"n_layer": 2, "n_head": 4},
    "mixtral": {"num_local_experts": 4},
}
ADAPTERS: dict[str, Callable[[], Any]] = {
    "lora": lambda: LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"),
    "dora": lambda: LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", use_dora=True),
    "oft": lambda: OFTConfig(task_type="CAUSAL_LM", r=0, oft_block_size=8, target_modules="all-linear"),
    "ia3": lambda: IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
    "prompt-tuning": lambda: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "p-tuning": lambda: PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, encoder_hidden_size=16),
    "prefix-tuning": lambda: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
}
PROMPTS = [f"{'word ' * (number % 4)}{number} and {number * 7}?" for number in range(9)]
CPU = torch.device("cpu")


def small_model(kind: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        CONFIG_MAPPING[kind](**SMALL | ARCHITECTURES.get(kind, {}) | changes)
    ).eval()


def adapted(model: nn.Module, name: str, std: float = 0.1) -> Any:
    """With an adapter that has visibly moved."""
    torch.manual_seed(1)
    model = get_peft_model(model, ADAPTERS[name]())
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter) * std
    return model


def answers(model: nn.Module, tokenizer: Any, way: str, prompts: Any = PROMPTS, **settings: Any) -> list[Generated]:
    """Decoded one way, and no other."""
    generator = TextGenerator(tokenizer, CPU)
    generator.ways[model] = way
    told = {"max_new_tokens": 10, "max_length": None, "batch_size": 4} | settings
    rows = generator(model, prompts, **told)
    assert generator.ways[model] == way, generator.refusals.get(model)
    return rows


@pytest.fixture
def few_tokens_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LEAST_TOKENS", 0)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_answers_as_transformers_generates(tokenizer: Any, kind: str) -> None:
    model = small_model(kind)
    expected = answers(model, tokenizer, "generate")
    assert answers(model, tokenizer, "plain") == expected
    assert answers(model, tokenizer, "plain", batch_size=2) == expected


@pytest.mark.usefixtures("few_tokens_packed")
@pytest.mark.parametrize("name", ["full", *ADAPTERS])
def test_every_adapter_answers_the_same_merged_and_packed(llama: LlamaForCausalLM, tokenizer: Any, name: str) -> None:
    base = answers(llama, tokenizer, "generate")
    model = llama if name == "full" else adapted(llama, name)
    expected = answers(model, tokenizer, "generate")
    assert (expected != base) == (name != "full")
    for way in WAYS[:-1]:
        assert answers(model, tokenizer, way) == expected


@pytest.mark.parametrize("kind", ["mamba", "bamba"])
def test_models_with_a_state_of_their_own_are_decoded_by_transformers(tokenizer: Any, kind: str) -> None:
    small = {"hidden_size": 32, "expand": 2, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1}
    model = small_model(kind, **small, **({"attn_layer_indices": [1]} if kind == "bamba" else {}))
    generator = TextGenerator(tokenizer, CPU)
    given = generator(model, PROMPTS, max_new_tokens=6, max_length=None, batch_size=4)
    assert generator.ways[model] == "generate"
    assert given == answers(model, tokenizer, "generate", max_new_tokens=6)


class TwicePerStep(nn.Module):
    """What mixtures of adapters do: another forward pass within the forward pass."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config, self.generate = model, model.config, model.generate

    def forward(self, **told: Any) -> Any:
        self.model(**told)
        return self.model(**told)


def test_a_model_that_reads_twice_in_a_forward_pass_is_decoded_by_transformers(
    llama: LlamaForCausalLM, tokenizer: Any
) -> None:
    model, generator = TwicePerStep(llama), TextGenerator(tokenizer, CPU)
    given = generator(model, PROMPTS, max_new_tokens=6, max_length=None, batch_size=4)
    assert generator.ways[model] == "generate"
    assert given == answers(llama, tokenizer, "generate", max_new_tokens=6)


def test_settings_of_the_author_that_change_greedy_answers_are_kept(llama: LlamaForCausalLM, tokenizer: Any) -> None:
    llama.generation_config.repetition_penalty = 1.5
    generator = TextGenerator(tokenizer, CPU)
    generator(llama, PROMPTS, max_new_tokens=3, max_length=None, batch_size=4)
    assert generator.refusals[llama] == "generation_config sets repetition_penalty"
    (note,) = CausalLM().prediction_notes(generator)
    assert "repetition_penalty" in note


def test_a_lack_of_memory_is_not_taken_for_an_unsuited_model(
    llama: LlamaForCausalLM, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(engine.Reader, "read", full)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        answers(llama, tokenizer, WAYS[0])


@pytest.mark.parametrize("slack", [1, 64])
def test_rows_are_replaced_as_they_end_and_the_cache_moves(
    llama: LlamaForCausalLM, tokenizer: Any, slack: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SLACK", slack)
    monkeypatch.setattr(engine, "REFILLS", 4)
    llama.generation_config.eos_token_id = list(range(1, 30))  # answers of unlike lengths
    told: list[tuple[int, int]] = []
    generator = TextGenerator(tokenizer, CPU, lambda done, of: told.append((done, of)))
    prompts = [*PROMPTS, *(text.upper() for text in PROMPTS), "?" * 60]
    steps: list[int] = []
    forward = llama.forward
    monkeypatch.setattr(llama, "forward", lambda **told: steps.append(len(told["input_ids"])) or forward(**told))
    given = generator(llama, prompts, max_new_tokens=40, max_length=70, batch_size=4)
    monkeypatch.undo()
    expected = answers(llama, tokenizer, "generate", prompts, max_new_tokens=40, max_length=70)
    assert given == expected
    assert generator.ways[llama] != "generate"
    assert len({row.num_tokens for row in given}) > 4
    assert [of for _, of in told] == [len(prompts)] * len(told)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == len(prompts)
    assert max(steps) == 4
    batches = [sorted(expected, key=lambda row: row.num_tokens)[i : i + 4] for i in range(0, len(prompts), 4)]
    assert len(steps) < 2 * sum(max(row.num_tokens for row in batch) for batch in batches)


@pytest.mark.parametrize("name", ["full", "prompt-tuning", "prefix-tuning"])
def test_what_all_prompts_begin_with_is_read_once(
    llama: LlamaForCausalLM, tokenizer: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = llama if name == "full" else adapted(llama, name)
    prompts = ["You are a helpful assistant. " + text for text in PROMPTS]
    expected = answers(model, tokenizer, "generate", prompts)
    read: list[int] = []
    layer = llama.model.layers[0].mlp.register_forward_pre_hook(lambda _, args: read.append(args[0].shape[1]))
    assert answers(model, tokenizer, "plain", prompts) == expected
    layer.remove()
    shared = len(tokenizer("You are a helpful assistant. ").input_ids)
    assert read[0] == shared + (5 if name == "prompt-tuning" else 0)
    assert read[1] <= max(len(text) for text in PROMPTS)
    assert read[2] == 1
    monkeypatch.setattr(prefill, "LEAST_SHARED", 10_000)
    assert answers(model, tokenizer, "plain", prompts) == expected


def snapshot(model: nn.Module) -> Any:
    bits = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    where = {name: (id(parameter), parameter.data_ptr()) for name, parameter in model.named_parameters()}
    flags = [(name, parameter.requires_grad) for name, parameter in model.named_parameters()]
    modules = {
        name: {key: repr(value) for key, value in vars(module).items() if not isinstance(value, dict)}
        | {"forward": module.forward.__qualname__, "hooks": len(module._forward_pre_hooks)}
        for name, module in model.named_modules()
    }
    return bits, (where, flags, modules)


@pytest.mark.usefixtures("few_tokens_packed")
@pytest.mark.parametrize("error", [None, KeyboardInterrupt, torch.OutOfMemoryError])
@pytest.mark.parametrize("name", ["lora", "dora", "oft", "ia3"])
def test_scoring_leaves_every_bit_and_flag_as_it_was(
    llama: LlamaForCausalLM, tokenizer: Any, name: str, error: type[BaseException] | None
) -> None:
    model = adapted(llama, name).train()
    bits, rest = snapshot(model)

    def interrupt(num_done: int, num_all: int) -> None:
        assert "forward" in vars(llama.model.layers[0].self_attn.k_proj)
        if error is not None:
            raise error

    generator = TextGenerator(tokenizer, CPU, interrupt)
    settings: dict[str, Any] = {"max_new_tokens": 4, "max_length": None, "batch_size": 4}
    if error is None:
        generator(model, PROMPTS, **settings)
    else:
        with pytest.raises(error):
            generator(model, PROMPTS, **settings)
    assert generator.ways[model] == "merged"
    after, others = snapshot(model)
    assert all(torch.equal(after[key], value) for key, value in bits.items())
    assert others == rest


@pytest.mark.usefixtures("few_tokens_packed")
def test_an_adapter_that_does_not_merge_exactly_stays_as_it_is(
    llama: LlamaForCausalLM, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora import Linear

    model = adapted(llama, "lora")
    expected = answers(model, tokenizer, "generate")
    merge = Linear.merge
    monkeypatch.setattr(Linear, "merge", lambda self: (merge(self), self.get_base_layer().weight.data.mul_(1.01)))
    generator = TextGenerator(tokenizer, CPU)
    assert generator(model, PROMPTS, max_new_tokens=10, max_length=None, batch_size=4) == expected
    assert generator.ways[model] == "packed"
    assert "differ" in generator.refusals[model]

    def refuse(self: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(Linear, "merge", refuse)
    assert answers(model, tokenizer, "merged") == expected


@pytest.mark.parametrize("name", ["full", "lora", "prompt-tuning", "prefix-tuning"])
def test_a_stop_rule_ends_an_answer_at_the_same_token_in_both_ways(
    llama: LlamaForCausalLM, tokenizer: Any, name: str
) -> None:
    model = llama if name == "full" else adapted(llama, name)
    free = answers(model, tokenizer, "generate")
    letters = {letter for row in free[:4] for letter in row.text[2:4]} - {"\N{REPLACEMENT CHARACTER}"}

    def decided(text: str) -> bool:
        return bool(letters & set(text))

    ended = answers(model, tokenizer, "generate", decided=decided)
    assert answers(model, tokenizer, "plain", decided=decided) == ended
    assert ended != free
    for row, whole in zip(ended, free, strict=True):
        assert whole.text.startswith(row.text)
        if row.num_tokens < whole.num_tokens:
            assert not row.truncated
            assert decided(row.text)


@pytest.mark.parametrize("prefix", ["", "They all begin like this: "])
@pytest.mark.parametrize("name", ["full", "lora", "prompt-tuning", "prefix-tuning"])
def test_losses_of_references_are_those_of_a_plain_forward_pass(
    llama: LlamaForCausalLM, tokenizer: Any, name: str, prefix: str
) -> None:
    model = llama if name == "full" else adapted(llama, name)
    prompts = [tokenizer(prefix + text).input_ids for text in PROMPTS]
    sequences = [row + tokenizer(" it is so" * (1 + index % 3)).input_ids for index, row in enumerate(prompts)]
    references = [
        Reference(ids=np.array(row), learned=np.arange(len(row)) >= len(prompt))
        for row, prompt in zip(sequences, prompts, strict=True)
    ]
    references[2] = Reference(ids=references[3].ids, learned=references[3].learned)  # not its own
    rows = answers(model, tokenizer, "plain", prompts, references=references)
    bare = [(row.text, row.num_tokens, row.truncated) for row in rows]
    assert bare == [(row.text, row.num_tokens, row.truncated) for row in answers(model, tokenizer, "plain", prompts)]
    assert (rows[2].loss_sum, rows[2].num_labels) == (None, None)
    for index in (0, 1, 3, 8):
        with torch.no_grad():
            losses = token_losses(model, input_ids=torch.tensor([sequences[index]]))
        expected = losses[len(prompts[index]) - 1 :]
        assert rows[index].num_labels == len(expected)
        assert rows[index].loss_sum == pytest.approx(expected.sum().item(), abs=1e-4 * len(expected))
    others = answers(model, tokenizer, "generate", prompts, references=references)
    assert {row.loss_sum for row in others} == {None}
