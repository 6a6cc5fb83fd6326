"""The decode loop: rows in flight, each replaced by the next prompt when it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from peftscope.capture import is_out_of_memory
from peftscope.models.kinds.causal_lm.decoding.answers import AnswerEnds, Generated, Prompt
from peftscope.models.kinds.causal_lm.decoding.cache import RowCache
from peftscope.models.kinds.causal_lm.decoding.checking import FAILURES, Unsuited, require_close
from peftscope.models.kinds.causal_lm.decoding.prefill import Reader

__all__ = ["Engine"]

T = TypeVar("T")

SLACK = 64
"""Columns beside those the longest row needs; the cache is moved to the front once in so many steps."""
PREFILL_TOKENS = {"cpu": 512}
"""Tokens read in one pass: beyond, a CPU computes no faster …"""
PREFILL_TOKENS_ELSEWHERE = 4096
LABEL_LOGITS = 2**25
"""Logits of labels in one pass: 128 MB in float32."""
REFILLS = 8
"""New prompts are read when one in so many rows is free: a pass over few tokens costs nearly a step."""


@dataclass
class _Row:
    prompt: Prompt
    loss: tuple[float, int] | None
    length: int
    """Columns it has in the cache, which is also the next position."""
    tokens: list[int] = field(default_factory=list)


class Engine:
    """Decodes prompts greedily with at most ``batch_size`` rows at a time.

    Args:
        model: In ``eval`` mode; gradients are off.
        device: Where it is.
        ends: When an answer is complete.
        batch_size: Most rows at a time.
        unaltered: Entered around a plain forward pass that the first steps are compared with, to take back what
            was done to the model for speed; None compares with nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        ends: AnswerEnds,
        *,
        batch_size: int,
        unaltered: Callable[[], AbstractContextManager[None]] | None = nullcontext,
    ) -> None:
        self.model, self.device, self.ends, self.batch_size = model, device, ends, batch_size
        self.unaltered = unaltered
        self.vocabulary = _vocabulary(model)
        self.is_rounded = bool(getattr(model, "is_quantized", False))
        self.rows: list[_Row] = []
        self.cache: RowCache | None = None
        self.answers: dict[int, Generated] = {}
        self.is_checked = unaltered is None
        self.checked: tuple[Prompt, Tensor] | None = None

    def run(self, prompts: Sequence[Prompt], on_progress: Callable[[int, int], None]) -> dict[int, Generated]:
        """Answers by the prompts' indices.

        Args:
            prompts: Longest first.
            on_progress: Told after every step in which rows ended.

        Raises:
            Unsuited: Within the first passes: the model does not decode the same this way, or not at all.
        """
        queue, told = deque(prompts), 0
        reader = self._trying(Reader, self.model, prompts, self.device)
        longest = reader.num_virtual + len(prompts[0].ids)
        most = reader.num_virtual + max(len(prompt.ids) + prompt.limit for prompt in prompts)
        num_rows = min(self.batch_size, len(prompts))
        while queue or self.rows:
            free = num_rows - len(self.rows)
            if queue and free >= max(1, num_rows // REFILLS if self.rows else 1):
                self._trying(self._fill, reader, queue, num_rows, (longest, most + SLACK))
            elif self.rows:
                self._trying(self._step, reader)
            if len(self.answers) > told:
                told = len(self.answers)
                on_progress(told, len(prompts))
        return self.answers

    def _trying(self, call: Callable[..., T], *args: Any) -> T:
        """Until the first steps have been compared, whatever fails says that this is not the way."""
        try:
            return call(*args)
        except (torch.OutOfMemoryError, Unsuited):
            raise
        except FAILURES as error:
            if self.is_checked or is_out_of_memory(error):
                raise
            raise Unsuited(f"{type(error).__name__}: {error}") from error

    def _fill(self, reader: Reader, queue: deque[Prompt], num_rows: int, columns: tuple[int, int]) -> None:
        """Read as many of the next prompts as there are free rows and a pass may hold."""
        some = self._next(queue, num_rows - len(self.rows))
        read = reader.read(some)
        if self.cache is None:
            write, capacity = columns
            self.cache = RowCache(read.layers, num_rows=num_rows, write=write, capacity=capacity)
        for place, (prompt, token) in enumerate(zip(some, read.logits.argmax(-1).tolist(), strict=True)):
            row = _Row(prompt=prompt, loss=read.losses[place], length=read.lengths[place])
            if not self._take(row, token):
                self.cache.put(read.layers, place, row.length)
                self.rows.append(row)
        if self.is_checked or self.checked is not None:
            return
        if self.rows:
            last = self.rows[-1].prompt
            self.checked = (
                last,
                read.logits[some.index(last)].clone(),
            )
        else:  # all ended with their first token; the cache is looked at when a row goes on
            self._compare(reader, some[-1].ids, read.logits[-1:])

    def _next(self, queue: deque[Prompt], most: int) -> list[Prompt]:
        tokens_at_once = PREFILL_TOKENS.get(self.device.type, PREFILL_TOKENS_ELSEWHERE)
        some: list[Prompt] = []
        longest = labels = 0
        while queue and len(some) < most:
            longest = max(longest, len(queue[0].sequence))
            labels += len(queue[0].labels)
            if some and (longest * (len(some) + 1) > tokens_at_once or labels * self.vocabulary > LABEL_LOGITS):
                break
            some.append(queue.popleft())
        return some

    def _step(self, reader: Reader) -> None:
        """One token more in every row."""
        cache = self.cache
        assert cache is not None
        cache.make_room()
        ids = torch.tensor([[row.tokens[-1]] for row in self.rows], device=self.device)
        positions = torch.tensor([[row.length] for row in self.rows], device=self.device)
        logits = reader.forward(
            input_ids=ids,
            attention_mask=cache.mask(self.device),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
        cache.advance()
        if not self.is_checked:
            self._check(reader, logits)
        tokens = logits.argmax(-1).tolist()
        for place in reversed(range(len(tokens))):  # from the end, where removing moves no row that is still to come
            row = self.rows[place]
            row.length += 1
            if self._take(row, tokens[place]):
                cache.take_out(place)
                self.rows[place] = self.rows[-1]
                self.rows.pop()

    def _take(self, row: _Row, token: int) -> bool:
        """Whether a row is complete with its new token."""
        row.tokens.append(token)
        ended = self.ends.met(row.tokens)
        if ended or len(row.tokens) == row.prompt.limit:
            self.answers[row.prompt.index] = self.ends.finished(row.tokens, ended=ended, loss=row.loss)
            return True
        return False

    def _check(self, reader: Reader, logits: Tensor) -> None:
        """Compare a row's first two logits with a plain forward pass: the row with most of its columns masked."""
        assert self.checked is not None
        prompt, first = self.checked
        place = next(place for place, row in enumerate(self.rows) if row.prompt is prompt)
        self._compare(reader, [*prompt.ids, self.rows[place].tokens[0]], torch.stack([first, logits[place]]))
        self.is_checked = True
        self.checked = None

    def _compare(self, reader: Reader, tokens: Sequence[int], given: Tensor) -> None:
        assert self.unaltered is not None
        with self.unaltered():
            require_close(given, reader.plain_logits(tokens, len(given)), is_rounded=self.is_rounded)


def _vocabulary(model: Any) -> int:
    size = getattr(model.config.get_text_config(), "vocab_size", None)
    return size if isinstance(size, int) else 2**16
