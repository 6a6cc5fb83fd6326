"""Special tokens that are written into the rows: those we add ourselves are taken off, others are reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from peftscope.models.kinds.causal_lm.prompts import adds_bos
from peftscope.tasks.text.examples import TextExample

__all__ = ["without_doubled_tokens"]


def without_doubled_tokens(
    examples: Sequence[TextExample], tokenizer: Any, *, split: str
) -> tuple[list[TextExample], list[str]]:
    """Examples without the BOS and EOS that tokenising adds, and what to say of special tokens in them.

    A doubled BOS is another prompt than the model knows, and an answer is decoded without its EOS, so that it could
    never equal a target that spells one out.

    Args:
        examples: Of one split.
        tokenizer: The base model's.
        split: Its name, for the notes.
    """
    bos, eos = tokenizer.bos_token, tokenizer.eos_token
    has_bos = adds_bos(tokenizer)
    counts: Counter[str] = Counter()
    found = []
    for example in examples:
        prompt, target, solution = example.prompt, example.target, example.solution
        if has_bos and prompt.startswith(bos):
            prompt = prompt.removeprefix(bos)
            counts[f"begin with {bos}"] += 1
        if eos is not None and target.rstrip().endswith(eos):
            target, solution = _without_end(target, eos), _without_end(solution, eos)
            counts[f"end with {eos}"] += 1
        found.append(replace(example, prompt=prompt, target=target, solution=solution))
    notes = [
        f"{split}: {count} of {len(found)} rows {what}, which is added anyway: taken off"
        for what, count in counts.items()
    ]
    inside = _inside(found, tokenizer)
    if inside:
        listed = ", ".join(f"{token} in {count}" for token, count in inside.most_common(3))
        notes.append(f"{split}: special tokens stand in the text, as if a template were filled already: {listed}")
    return found, notes


def _without_end(text: str, eos: str) -> str:
    stripped = text.rstrip()
    return stripped.removesuffix(eos) if stripped.endswith(eos) else text


def _inside(examples: Sequence[TextExample], tokenizer: Any) -> Counter[str]:
    """Rows by the special tokens in their texts."""
    tokens = [token for token in dict.fromkeys(tokenizer.all_special_tokens) if len(token) > 1]
    return Counter(token for e in examples for token in tokens if token in e.prompt or token in e.target)
