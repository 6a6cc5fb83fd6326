"""The trained model of a run, loaded with its processor."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from peftscope.methods.catalog import card
from peftscope.methods.checkpoint import load
from peftscope.models.source import anchored
from peftscope.schema.record import RunRecord
from peftscope.study.folder import find_record
from peftscope.study.run_choice import adapter_folder, best_run
from peftscope.tasks.registry import kind_of

if TYPE_CHECKING:
    from peftscope.study.study import Study

__all__ = ["TrainedRun", "open_run"]


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainedRun:
    """A trained model, in ``eval`` mode on its device; unpacks as ``model, processor``."""

    model: nn.Module
    """The base with the adapter on it."""
    processor: Any
    """What turns inputs into what the model takes; None where its kind has no such thing."""
    record: RunRecord
    """Of the run."""
    adapter: Path
    """Folder of the checkpoint, which ``peft`` loads as well."""

    def __repr__(self) -> str:
        spec = self.record.spec
        return f"TrainedRun({spec.title!r}, run_id={self.record.run_id!r}, adapter={str(self.adapter)!r})"

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.processor))


def open_run(study: Study, run: str | None) -> TrainedRun:
    """Load the trained model of a run.

    Args:
        study: The run's study.
        run: Its id, or the first letters of it; the best seed of the recommended method where None.

    Raises:
        SpecError: There is no such run, or it has no checkpoint.
        ModelError: The base cannot be loaded.
        StoreError: The checkpoint is missing or damaged.
    """
    folder, record = find_record(best_run(study) if run is None else run, study.folder)
    known = card(record.spec.method.name)
    adapter = adapter_folder(folder, record, must_exist=known.trains)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for a package nobody here needs
    base = anchored(record.spec.model, study.base)
    kind = kind_of(base, record.spec.task)
    loaded = kind.load(base)
    model = load(loaded.model, adapter, known)
    return TrainedRun(model=model.to(loaded.device), processor=loaded.processor, record=record, adapter=adapter)
