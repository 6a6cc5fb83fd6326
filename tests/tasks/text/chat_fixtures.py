"""Chat templates with the structure of ten families of models, and what each is to give, character by character.

The templates are written for these tests; what is special about a family is kept: its marks, what opens and ends a
turn, default system prompts, what is trimmed, what is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken

from peftscope.tasks.text.turns import Turn
from tiny import tiny_tokenizer

__all__ = ["FAMILIES", "Family", "tokenizer_of"]

Pieces = Iterable[tuple[str, bool]]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A template, its special tokens, and its reference: texts and whether the assistant says them."""

    name: str
    template: str
    special: Sequence[str]
    eos: str
    bos: str | None = None
    pieces: Callable[[Sequence[Turn]], Pieces]
    takes_system: bool = True


def tokenizer_of(family: Family) -> Any:
    """A byte-level tokenizer with the family's special tokens and template."""
    tokenizer = tiny_tokenizer(bos=False)
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken(t, special=True) for t in family.special]})
    tokenizer.eos_token, tokenizer.bos_token = family.eos, family.bos
    tokenizer.chat_template = family.template
    return tokenizer


def _wrapped(
    role: Callable[[str], str], end: str, *, first: str = "", after: str = "", default: str = ""
) -> Callable[[Sequence[Turn]], Pieces]:
    """Turns that each open with a role and end in a token."""

    def pieces(turns: Sequence[Turn]) -> Iterator[tuple[str, bool]]:
        yield first, False
        if default and turns[0].role != "system":
            yield role("system") + default + end + after, False
        for turn in turns:
            said = turn.role == "assistant"
            yield role(turn.role), False
            yield turn.content + end, said
            yield after, False

    return pieces


def _mistral(turns: Sequence[Turn]) -> Iterator[tuple[str, bool]]:
    yield "<s>", False
    system = next((turn.content + "\n\n" for turn in turns if turn.role == "system"), "")
    for turn in turns:
        if turn.role == "user":
            yield f"[INST] {system}{turn.content} [/INST]", False
            system = ""
        elif turn.role == "assistant":
            yield f" {turn.content}</s>", True


def _zephyr(turns: Sequence[Turn]) -> Iterator[tuple[str, bool]]:
    for turn in turns:
        yield f"<|{turn.role}|>", False  # generation starts here, before the line break
        yield f"\n{turn.content}</s>", turn.role == "assistant"
        yield "\n", False


def _deepseek(turns: Sequence[Turn]) -> Iterator[tuple[str, bool]]:
    yield "<｜begin▁of▁sentence｜>", False
    for turn in turns:
        if turn.role == "system":
            yield turn.content, False
        elif turn.role == "user":
            yield f"<｜User｜>{turn.content}", False
        else:
            yield "<｜Assistant｜>", False
            yield turn.content + "<｜end▁of▁sentence｜>", True


def _gemma_role(role: str) -> str:
    return f"<start_of_turn>{'model' if role == 'assistant' else role}\n"


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _chatml(default: str) -> str:
    return (
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\n" + default + "<|im_end|>\n' }}{% endif %}"
    ) + CHATML


FAMILIES = (
    Family(
        name="Llama 3",
        template=(
            "{{ bos_token }}{% for m in messages %}"
            "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
        ),
        special=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pieces=_wrapped(
            lambda role: f"<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>", first="<|begin_of_text|>"
        ),
    ),
    Family(
        name="Qwen",
        template=_chatml("You are a helpful assistant from afar."),
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        eos="<|im_end|>",
        pieces=_wrapped(
            lambda role: f"<|im_start|>{role}\n",
            "<|im_end|>",
            after="\n",
            default="You are a helpful assistant from afar.",
        ),
    ),
    Family(
        name="Gemma",
        template=(
            "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
            "{% endif %}{% for m in messages %}"
            "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
            "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
            "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim }}"
            "{{ '<end_of_turn>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
        ),
        special=("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        pieces=_wrapped(_gemma_role, "<end_of_turn>", first="<bos>", after="\n"),
        takes_system=False,
    ),
    Family(
        name="Mistral",
        template=(
            "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}"
            "{% if m.role == 'system' %}{% set ns.system = m.content + '\n\n' %}"
            "{% elif m.role == 'user' %}{{ '[INST] ' + ns.system + m.content + ' [/INST]' }}{% set ns.system = '' %}"
            "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
        ),
        special=(),
        bos="<s>",
        eos="</s>",
        pieces=_mistral,
    ),
    Family(
        name="Phi",
        template=(
            "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
        ),
        special=("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        eos="<|endoftext|>",
        pieces=_wrapped(lambda role: f"<|{role}|>\n", "<|end|>", after="\n"),
    ),
    Family(
        name="SmolLM",
        template=_chatml("You are a small assistant."),
        special=("<|im_start|>", "<|im_end|>"),
        bos="<|im_start|>",
        eos="<|im_end|>",
        pieces=_wrapped(
            lambda role: f"<|im_start|>{role}\n", "<|im_end|>", after="\n", default="You are a small assistant."
        ),
    ),
    Family(
        name="ChatML",
        template=CHATML,
        special=("<|im_start|>", "<|im_end|>"),
        eos="</s>",
        pieces=_wrapped(lambda role: f"<|im_start|>{role}\n", "<|im_end|>", after="\n"),
    ),
    Family(
        name="Zephyr",
        template=(
            "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
        ),
        special=(),
        bos="<s>",
        eos="</s>",
        pieces=_zephyr,
    ),
    Family(
        name="DeepSeek",
        template=(
            "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}"
            "{% elif m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
            "{% else %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
        ),
        special=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        bos="<｜begin▁of▁sentence｜>",
        eos="<｜end▁of▁sentence｜>",
        pieces=_deepseek,
    ),
    Family(
        name="Granite",
        template=(
            "{% for m in messages %}"
            "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"
        ),
        special=("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
        eos="<|end_of_text|>",
        pieces=_wrapped(lambda role: f"<|start_of_role|>{role}<|end_of_role|>", "<|end_of_text|>", after="\n"),
    ),
)
