"""The trained model of a run, loaded with its processor."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from peftscope.errors import SpecError
from peftscope.methods.catalog import card
from peftscope.methods.checkpoint import load
from peftscope.models.source import anchored
from peftscope.schema.record import RunRecord
from peftscope.study.folder import find_record
from peftscope.study.recommendation import best_run_of
from peftscope.tasks.registry import kind_of

if TYPE_CHECKING:
    from peftscope.study.study import Study

__all__ = ["TrainedRun", "adapter_folder", "best_run", "open_run"]


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


def adapter_folder(folder: Path, record: RunRecord, *, must_exist: bool = True) -> Path:
    """Where the checkpoint of a run lies.

    Raises:
        SpecError: It is not there, and must be.
    """
    adapter = folder / "adapters" / record.run_id
    if must_exist and not adapter.is_dir():
        raise SpecError(
            record.run_id, [f"its checkpoint is not there ({adapter}); {record.status}: a final run has one"]
        )
    return adapter


def best_run(study: Study) -> str:
    """Id of the recommended method's final run with the best validation loss, so that no test score picks it.

    Raises:
        SpecError: Nothing is recommended that was trained.
    """
    recommended = study.recommend()
    if not recommended.trains:
        raise SpecError(study.name, ["nothing that is trained is recommended; name a run"])
    assert recommended.choice is not None
    run_id, _ = best_run_of(recommended.results, recommended.choice)
    assert run_id is not None, "what is recommended has run"
    return run_id
