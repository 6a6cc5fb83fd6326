"""Greedy decoding of text, the same for plain models, adapters and prompt learning."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import StoppingCriteria, StoppingCriteriaList

from peftscope.errors import DataError
from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.causal_lm.decoding.answers import AnswerEnds, Generated, Prompt, Reference
from peftscope.models.kinds.causal_lm.decoding.checking import Different, Unsuited, require_plain_greedy
from peftscope.models.kinds.causal_lm.decoding.engine import Engine
from peftscope.models.kinds.causal_lm.decoding.packing import PackedModel, is_worth_packing
from peftscope.models.kinds.causal_lm.prompts import prompt_token_ids

__all__ = ["Generated", "Reference", "TextGenerator", "greedy_tokens"]

WAYS = ("merged", "packed", "plain", "generate")
"""Rows replaced as they end, with adapters merged into packed weights; with adapters as they are, beside packed
weights; with the model as it is; and ``transformers``, batch after batch.
"""


class TextGenerator:
    """Greedy decoding; make it once per base model and use it for every method.

    Prompts are tokenized as in training, and their answers are given back in the order of the prompts. Rows that end
    make room for the next prompts (``decoding``); a model that cannot be decoded so, which is tried and compared with
    a plain forward pass, is decoded by ``transformers``, batch after batch.

    Args:
        tokenizer: The base model's.
        device: Where the models are.
        on_progress: Told as prompts are answered how many are, and of how many.
    """

    def __init__(
        self,
        tokenizer: Any,
        device: torch.device,
        on_progress: Callable[[int, int], None] = lambda num_done, num_all: None,
    ) -> None:
        self.tokenizer = tokenizer
        self.device = device
        self.on_progress = on_progress
        self.ways: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        """How each model is decoded: the first of ``WAYS`` that did not turn out to be different."""
        self.refusals: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        """Why a model is not decoded in an earlier of them."""

    def __call__(
        self,
        model: nn.Module,
        prompts: Sequence[str] | Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        max_length: int | None,
        batch_size: int,
        end_ids: Collection[int] = (),
        decided: Callable[[str], bool] | None = None,
        references: Sequence[Reference] | None = None,
    ) -> list[Generated]:
        """Decode one answer per prompt.

        Args:
            model: The plain model or a ``PeftModel``; left as it was.
            prompts: Texts to go on from, or their token ids.
            max_new_tokens: Most tokens in an answer.
            max_length: Most tokens in prompt and answer together, virtual tokens not counted, so that
                every method has the same room; None sets no such limit.
            batch_size: Prompts decoded together. Keep it the same within a comparison: padding moves
                floating-point sums by a last bit, and a near tie can then fall the other way.
            end_ids: Tokens that end an answer, beside the tokenizer's EOS and those the model's author lists.
            decided: Told the text of an answer so far; True ends the answer there, and it is not ``truncated``.
            references: The training sequence of each prompt, whose loss is then computed while the prompt is read.
                It is None in answers of models that ``transformers`` decodes, and of a prompt that its sequence
                does not begin with.

        Raises:
            DataError: A prompt is empty, or leaves no room for an answer.
        """
        if not prompts:
            return []
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        ids = prompt_token_ids(self.tokenizer, texts) if texts else [list(map(int, prompt)) for prompt in prompts]
        asked = [
            Prompt(
                index=index,
                ids=row,
                limit=_limit(index, len(row), max_new_tokens, max_length),
                reference=None if references is None else _matching(references[index], row),
            )
            for index, row in enumerate(ids)
        ]
        # Longest first: similar lengths waste no padding, and what does not fit into memory fails at once.
        asked.sort(key=lambda prompt: -len(prompt.ids))
        ends = AnswerEnds(
            tokenizer=self.tokenizer, end_ids={*_end_ids(model, self.tokenizer), *end_ids}, decided=decided
        )
        with evaluating(model), torch.no_grad():
            answers = self._decode(model, asked, ends, batch_size)
        return [answers[index] for index in range(len(ids))]

    def _decode(
        self, model: nn.Module, prompts: list[Prompt], ends: AnswerEnds, batch_size: int
    ) -> dict[int, Generated]:
        num_tokens = sum(len(prompt.sequence) + prompt.limit for prompt in prompts)
        while (way := self.ways.setdefault(model, WAYS[0])) != "generate":
            packed = None
            if way != "plain" and is_worth_packing(model, self.device, num_tokens=num_tokens):
                packed = PackedModel(model, merge=way == "merged")
            try:
                require_plain_greedy(model)
                return self._decode_rows(model, prompts, ends, batch_size, packed)
            except Unsuited as reason:
                self.refusals[model] = str(reason)
                is_packing_to_blame = isinstance(reason, Different) and packed is not None
                self.ways[model] = WAYS[WAYS.index(way) + 1] if is_packing_to_blame else "generate"
        answers: dict[int, Generated] = {}
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            answers |= self._generate(model, batch, ends)
            self.on_progress(len(answers), len(prompts))
        return answers

    def _decode_rows(
        self, model: nn.Module, prompts: list[Prompt], ends: AnswerEnds, batch_size: int, packed: PackedModel | None
    ) -> dict[int, Generated]:
        """All answers by the loop that replaces rows."""
        unaltered = nullcontext if packed is None else packed.suspended
        engine = Engine(model, self.device, ends, batch_size=batch_size, unaltered=unaltered)
        with nullcontext() if packed is None else packed.applied():
            return engine.run(prompts, self.on_progress)

    def _generate(self, model: nn.Module, prompts: list[Prompt], ends: AnswerEnds) -> dict[int, Generated]:
        """One batch's answers by ``transformers``."""
        limits = torch.tensor([prompt.limit for prompt in prompts], device=self.device)
        stop_rule = _StopRule(ends, len(prompts))
        tokens = greedy_tokens(
            model,
            *pad_left([prompt.ids for prompt in prompts], self._pad_id(), self.device),
            max_new_tokens=max(prompt.limit for prompt in prompts),
            stopping=[_RowLimits(limits), *([] if ends.decided is None else [stop_rule])],
            eos_token_id=sorted(ends.end_ids) or None,
            pad_token_id=self._pad_id(),
        )
        answers = {}
        for prompt, row, decided in zip(prompts, tokens.tolist(), stop_rule.num_tokens, strict=True):
            row = row[: prompt.limit]
            end = next((number for number, token in enumerate(row, 1) if token in ends.end_ids), None)
            stops = [number for number in (end, decided) if number is not None and number <= len(row)]
            kept = row[: min(stops, default=len(row))]
            answers[prompt.index] = ends.finished(kept, ended=bool(stops))
        return answers

    def _pad_id(self) -> int:
        # Never seen by the model: padding is masked, so any id will do where the tokenizer has none.
        for candidate in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if candidate is not None:
                return int(candidate)
        return 0


def greedy_tokens(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    max_new_tokens: int,
    stopping: Sequence[StoppingCriteria] = (),
    **options: Any,
) -> Tensor:
    """New tokens only, of shape ``(batch, new)``, padded on the right where a row ended early.

    Args:
        model: A causal language model of ``transformers``, plain or as a ``PeftModel``.
        input_ids: Padded on the left, of shape ``(batch, prompt)``.
        attention_mask: 1 on the prompt and 0 on padding, of the same shape.
        max_new_tokens: Most new tokens of any row.
        stopping: When a row is done, beside its end-of-sequence token.
        options: Anything else ``transformers`` takes for generating.
    """
    options |= {"do_sample": False, "num_beams": 1, "use_cache": True, "max_new_tokens": max_new_tokens}
    options["stopping_criteria"] = StoppingCriteriaList(stopping)
    generator: Any = model
    with torch.no_grad():
        virtual = _virtual_embeddings(model, len(input_ids))
        if virtual is not None:
            # peft puts the virtual tokens before the padding and drops the position ids, so that a prompt's
            # distance to them depends on the longest prompt in its batch. Here the padding comes first.
            words = generator.word_embeddings(input_ids)  # the very embedding peft's forward pass takes
            embeds, attention_mask = _put_before_prompts(virtual, words, attention_mask)
            tokens = generator.base_model.generate(inputs_embeds=embeds, attention_mask=attention_mask, **options)
        else:
            tokens = generator.generate(input_ids=input_ids, attention_mask=attention_mask, **options)
            tokens = tokens[:, input_ids.shape[1] :]
    assert isinstance(tokens, Tensor)
    assert tokens.shape[1] <= max_new_tokens, "a generation limit was not kept"
    return tokens


def pad_left(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, each of shape ``(rows, longest row)``, with padding on the left.

    >>> pad_left([[5, 6], [7]], 0, torch.device("cpu"))[0].tolist()
    [[5, 6], [0, 7]]
    """
    longest = max(len(row) for row in rows)
    ids = [[pad_id] * (longest - len(row)) + list(row) for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


class _RowLimits(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped
    """Ends each row at its own limit."""

    def __init__(self, limits: Tensor) -> None:
        self.limits = limits
        self.num_new = 0

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        self.num_new += 1  # counted here, because input_ids has no prompt when embeddings were given
        return self.num_new >= self.limits


class _StopRule(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped
    """Ends each row where its text meets the stop rule, and notes with how many tokens it did."""

    def __init__(self, ends: AnswerEnds, num_rows: int) -> None:
        self.ends = ends
        self.num_new = 0
        self.num_tokens: list[int | None] = [None] * num_rows

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        self.num_new += 1
        for index, row in enumerate(input_ids[:, -self.num_new :].tolist()):
            if self.num_tokens[index] is None and self.ends.is_decided(row):
                self.num_tokens[index] = self.num_new
        return torch.tensor([number is not None for number in self.num_tokens], device=input_ids.device)


def _virtual_embeddings(model: nn.Module, batch_size: int) -> Tensor | None:
    """Embeddings that prompt learning puts before a prompt, of shape ``(batch, virtual, width)``.

    None where there are none, or where keys and values are prepended instead: ``peft`` positions these right.
    """
    if not isinstance(model, PeftModel) or not model.active_peft_config.is_prompt_learning:
        return None
    prompt = model.get_prompt(batch_size=batch_size)
    return prompt if isinstance(prompt, Tensor) else None


def _put_before_prompts(virtual: Tensor, words: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings in the order padding, virtual tokens, prompt; and the mask that goes with it."""
    num_virtual, num_padding = virtual.shape[1], (attention_mask == 0).sum(dim=1, keepdim=True)
    joined = torch.cat([virtual.to(device=words.device, dtype=words.dtype), words], dim=1)
    mask = torch.cat([attention_mask.new_ones(virtual.shape[:2]), attention_mask], dim=1)
    # Where each place of the result is taken from: padding, which stood behind the virtual tokens, moves up
    # by their number, and they move back by the number of paddings; prompts stay where they are.
    place = torch.arange(joined.shape[1], device=words.device).expand(mask.shape)
    source = torch.where(place < num_padding + num_virtual, place - num_padding, place)
    source = torch.where(place < num_padding, place + num_virtual, source)
    return joined.gather(1, source.unsqueeze(-1).expand_as(joined)), mask.gather(1, source)


def _limit(index: int, prompt_length: int, max_new_tokens: int, max_length: int | None) -> int:
    """Most new tokens for one prompt: both limits hold."""
    room = max_new_tokens if max_length is None else min(max_new_tokens, max_length - prompt_length)
    if prompt_length == 0:
        raise DataError(f"prompt {index} is empty; a model needs at least one token to go on from")
    if room < 1:
        raise DataError(
            f"prompt {index} has {prompt_length} tokens; max_length {max_length} and "
            f"max_new_tokens {max_new_tokens} leave no room for an answer"
        )
    return room


def _matching(reference: Reference, prompt: list[int]) -> Reference | None:
    """The reference of a prompt that its sequence begins with."""
    return reference if reference.ids[: len(prompt)].tolist() == prompt else None


def _end_ids(model: nn.Module, tokenizer: Any) -> set[int]:
    """Ids that end an answer: what training labels as the end, and what the model's author lists."""
    config = getattr(model, "generation_config", None)
    listed = getattr(config, "eos_token_id", None)
    ends = set(listed) if isinstance(listed, list) else {listed}
    return {int(token) for token in (*ends, tokenizer.eos_token_id) if token is not None}
