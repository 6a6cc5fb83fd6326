"""Keys and values of rows that begin and end at different times, in buffers allocated once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from peftscope.models.kinds.causal_lm.decoding.checking import Unsuited

__all__ = ["KeysValues", "RowCache"]

KeysValues = tuple[Tensor, Tensor] | None
"""Of one layer, each of shape (rows, heads, columns, width); None for a layer that keeps none of its own."""


class _Window:
    """Which rows and columns of the buffers are in use."""

    def __init__(self, write: int) -> None:
        self.num_rows = 0
        self.first = write
        self.write = write


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped
    """One layer's buffers; what the model reads is a view of them."""

    is_sliding = False  # windows come from the mask: the columns of a row are contiguous, so distances are right

    def __init__(self, window: _Window, keys: Tensor | None, values: Tensor | None) -> None:
        super().__init__()
        self.window, self.keys, self.values = window, keys, values
        self.is_initialized = keys is not None
        self.num_updates = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise Unsuited("a layer that kept nothing of the prompts keeps something now")

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write the new column and give back all that are in use."""
        if self.keys is None or self.values is None or key_states.shape[0] != self.window.num_rows:
            raise Unsuited("the model does not keep keys and values as it did of the prompts")
        self.num_updates += 1
        rows, first, write = self.window.num_rows, self.window.first, self.window.write
        self.keys[:rows, :, write : write + 1] = key_states
        self.values[:rows, :, write : write + 1] = value_states
        return self.keys[:rows, :, first : write + 1], self.values[:rows, :, first : write + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self.window.write - self.window.first

    def get_max_length(self) -> int:
        return -1


class RowCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """A cache whose rows all write into the same column, and end and begin independently of each other.

    The keys and values of a row are contiguous and end before the column that is written next, so that a row's first
    column tells all of its mask. Rows in use are the first ones: where one ends, the last takes its place.

    Args:
        like: Keys and values of any rows, for their shapes and types.
        num_rows: Most rows at a time.
        write: First column to be written; no row that is put in may be longer.
        capacity: Columns; more than any row ever has.
    """

    def __init__(self, like: Sequence[KeysValues], *, num_rows: int, write: int, capacity: int) -> None:
        self.window = _Window(write)
        self.capacity = capacity
        self.starts: list[int] = []

        def buffer(values: Tensor) -> Tensor:
            shape = (num_rows, values.shape[1], capacity, values.shape[3])
            return values.new_zeros(shape)  # not empty: a masked column is multiplied by zero, and NaN would stay

        pairs = [(None, None) if pair is None else (buffer(pair[0]), buffer(pair[1])) for pair in like]
        super().__init__(layers=[_Layer(self.window, *pair) for pair in pairs])

    def put(self, layers: Sequence[KeysValues], source: int, length: int) -> None:
        """Begin a row with the first columns of another cache's row."""
        row, write = self.window.num_rows, self.window.write
        for layer, pair in zip(self.layers, layers, strict=True):
            if pair is not None:
                layer.keys[row, :, write - length : write] = pair[0][source, :, :length]
                layer.values[row, :, write - length : write] = pair[1][source, :, :length]
        self.starts.append(write - length)
        self._use()

    def take_out(self, row: int) -> None:
        """End a row; the last one in use takes its place."""
        last, first, write = self.window.num_rows - 1, self.window.first, self.window.write
        if row != last:
            for layer in self.layers:
                if layer.keys is not None:
                    layer.keys[row, :, first:write] = layer.keys[last, :, first:write]
                    layer.values[row, :, first:write] = layer.values[last, :, first:write]
        self.starts[row] = self.starts[last]
        self.starts.pop()
        self._use()

    def make_room(self) -> None:
        """Move the columns in use to the front where the next one would not fit."""
        first, write = self.window.first, self.window.write
        if write < self.capacity:
            return
        rows, length = self.window.num_rows, write - first
        assert first > 0, "a row has more columns than were allocated"
        for layer in self.layers:
            for buffer in (layer.keys, layer.values):
                if buffer is not None:
                    buffer[:rows, :, :length] = buffer[:rows, :, first:write].clone()
        self.starts = [start - first for start in self.starts]
        self.window.write = length
        self._use()

    def mask(self, device: torch.device) -> Tensor:
        """1 on a row's own columns, the next one included, of shape (rows, columns in use + 1)."""
        columns = torch.arange(self.window.first, self.window.write + 1, device=device)
        return (columns >= torch.tensor(self.starts, device=device).unsqueeze(1)).long()

    def advance(self) -> None:
        """Go to the next column, after a forward pass.

        Raises:
            Unsuited: Not every layer was written exactly once.
        """
        counts = {layer.num_updates for layer in self.layers if layer.keys is not None}
        if counts != {1}:
            raise Unsuited("the model does not write its cache exactly once in a forward pass")
        for layer in self.layers:
            layer.num_updates = 0
        self.window.write += 1

    def _use(self) -> None:
        self.window.num_rows = len(self.starts)
        self.window.first = min(self.starts, default=self.window.write)
