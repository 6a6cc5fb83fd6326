"""What generation starts from; training starts its sequences with the very same ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["adds_bos", "prompt_token_ids"]


def prompt_token_ids(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """Ids that generation starts from: as the tokenizer makes them, but without an EOS at the end."""
    rows = tokenizer(list(prompts), padding=False, truncation=False)["input_ids"]
    return [_without_eos(ids, tokenizer.eos_token_id) for ids in rows]


def adds_bos(tokenizer: Any) -> bool:
    """Whether a tokenizer puts its BOS before a text."""
    return tokenizer.bos_token is not None and tokenizer.bos_token_id in prompt_token_ids(tokenizer, ["x"])[0]


def _without_eos(ids: list[int], eos_id: int | None) -> list[int]:
    # A single token is the BOS of an empty prompt, which may have the EOS's id.
    return ids[:-1] if len(ids) > 1 and ids[-1] == eos_id else ids
