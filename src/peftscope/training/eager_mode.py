"""A dispatch mode for what is never compiled: it sees every operation, in as little of Python's time as can be."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["EagerMode"]


class EagerMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """PyTorch's, without what keeps the compiler away: that takes as long as a small operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
