"""What a conversion is fitted to, compared on and scored by: a run's own task, or a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from peftscope.analysis.criteria import criteria_for
from peftscope.analysis.score_change import ScoreChange, score_change
from peftscope.convert.inputs import Inputs
from peftscope.errors import DataError
from peftscope.measures.score import score_split
from peftscope.models.kinds.base import Batch, LoadedModel
from peftscope.schema.base import content_hash
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import ExampleOutcome, RunRecord
from peftscope.schema.study import TaskSpec
from peftscope.study.adapters import FoundAdapter
from peftscope.tasks.base import Task, TaskContext
from peftscope.tasks.registry import create
from peftscope.tasks.text.general_text import read_general_text

__all__ = ["OwnTask", "ParagraphInputs", "TaskSource"]

GENERAL = "sotu"
"""Text that comes with peftscope, where no other is given."""
PARAGRAPHS = 400
"""Of it: the even ones calibrate, on the odd ones models are compared."""
ROWS = 2048
"""Of output (tokens of a text, places of a picture): so many calibrate, and on so many others models are compared …"""
FEWEST = 2
"""Batches there are of each at least, where there are as many."""
MOST_BYTES = 2**28
"""… or on as many as have outputs of that size, which are kept."""


@dataclass(frozen=True, kw_only=True)
class TaskSource:
    """A task, and how it was or would be trained on."""

    task: TaskSpec
    batch_size: int
    place: Path
    """Folder that relative paths are taken from."""
    seed: int = 0
    vary_split: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    """Fingerprint of the data a run was trained on; empty where nobody noted it."""
    outcomes: Sequence[ExampleOutcome] = ()
    """Of the test examples with the original adapter; empty where they are not scored yet."""
    scored_in: str | None = None
    """Type of the base's weights with which these were scored; None where nobody noted it."""

    @classmethod
    def of_run(cls, record: RunRecord, place: Path) -> TaskSource:
        """A run's own."""
        spec = record.spec
        return cls(
            task=spec.task,
            batch_size=spec.train.batch_size,
            place=place,
            seed=spec.seed,
            vary_split=spec.vary_split,
            data=record.data,
            outcomes=record.examples,
            scored_in=None if record.protocol is None else record.protocol.quality.get("dtype"),
        )


class OwnTask:
    """A task's data to fit to and to compare on, and its test examples to score.

    Args:
        adapter: What is converted.
        source: The task.
        margin: Change of the score that does not matter; None takes the usual one.
        kept: Whether outputs on the calibration inputs are going to be kept.
        told: Called with a line for each stage.
    """

    def __init__(
        self,
        adapter: FoundAdapter,
        source: TaskSource,
        *,
        margin: float | None,
        kept: bool,
        told: Callable[[str], None],
    ) -> None:
        self.adapter, self.source, self.margin, self.kept, self.told = adapter, source, margin, kept, told
        self.outcomes = source.outcomes
        self._made: Task | None = None

    @property
    def metric(self) -> MetricSpec | None:
        """Of the score; None before the task was looked at."""
        return None if self._made is None else self._made.metric

    def calibration(self, loaded: LoadedModel) -> Inputs | None:
        """Batches of the training split."""
        with chdir(self.source.place):
            batches = self._task(loaded).batches(self.source.seed)
            return _enough(self.adapter, loaded, batches, kept=self.kept)

    def verification(self, loaded: LoadedModel) -> Inputs | None:
        """Batches of the validation split."""
        with chdir(self.source.place):
            return _enough(self.adapter, loaded, self._task(loaded).eval_batches("valid"), kept=True)

    def before(self, model: nn.Module, loaded: LoadedModel) -> None:
        """Score the test examples with the original adapter, where a run has not, or not as they are scored here."""
        if not self.outcomes or self.source.scored_in not in (None, str(loaded.dtype).removeprefix("torch.")):
            self.outcomes = self._scored(model, loaded)

    def change(self, model: nn.Module, loaded: LoadedModel) -> ScoreChange:
        """Score the test examples again and set them against the original's."""
        groups = {each.example_id: each.group for each in self.outcomes}
        after = [replace(each, group=groups.get(each.example_id)) for each in self._scored(model, loaded)]
        metric = self._task(loaded).metric
        sign = -1.0 if metric.direction == "lower" else 1.0
        return score_change(self.outcomes, after, criteria_for(metric, margin=self.margin), sign=sign)

    def _scored(self, model: nn.Module, loaded: LoadedModel) -> list[ExampleOutcome]:
        self.told("score")
        predictor = self.adapter.kind.predictor(loaded, lambda *_: None)
        with chdir(self.source.place):
            found = score_split(self._task(loaded), model, predictor, "test")
        return [
            ExampleOutcome(example_id=each.example_id, score=each.score, draw=each.draw, group=each.group)
            for each in found
        ]

    def _task(self, loaded: LoadedModel) -> Task:
        """Made once.

        Raises:
            DataError: Its data are no longer those the run was trained on.
        """
        if self._made is None:
            source = self.source
            context = TaskContext(processor=loaded.processor, kind=self.adapter.kind.name, batch_size=source.batch_size)
            task = create(source.task, context)
            if source.vary_split:
                task.resplit(source.seed)
            if source.data and content_hash(task.fingerprint()) != content_hash(dict(source.data)):
                raise DataError(
                    "the data are no longer those the run was trained on; give a text to fit to (calibration) and "
                    "leave the score out (score=False, --no-score)"
                )
            self._made = task
        return self._made


@torch.no_grad()
def _enough(adapter: FoundAdapter, loaded: LoadedModel, batches: Iterable[Batch], *, kept: bool) -> Inputs | None:
    """Inputs with as many batches as give enough rows; None where there are none whose outputs are compared.

    Args:
        adapter: Whose kind reads them.
        loaded: The base, which puts out how many rows one gives.
        batches: To be taken.
        kept: Whether outputs are going to be kept, so that their size counts, too.
    """
    taken: list[Batch] = []
    inputs = Inputs(kind=adapter.kind, processor=loaded.processor, batches=taken)
    num_rows = num_bytes = row_bytes = 0
    for batch in batches:
        heard = adapter.kind.heard(batch)
        if heard is None or not taken:  # the first tells how wide a row is
            try:
                outputs = inputs.outputs(loaded.model, batch)
            except NotImplementedError:
                return None
            rows, row_bytes = len(outputs), outputs[0].nbytes
        else:
            rows = int(heard.sum())
        taken.append(batch)
        num_rows, num_bytes = num_rows + rows, num_bytes + rows * row_bytes
        if len(taken) >= FEWEST and (num_rows >= ROWS or (kept and num_bytes >= MOST_BYTES)):
            break
    return inputs if taken else None


class ParagraphInputs:
    """A text: every other paragraph to fit to, the rest to compare on.

    Args:
        adapter: What is converted.
        calibration: A text file; None takes the text that comes with peftscope.
        kept: Whether outputs on the calibration inputs are going to be kept.
    """

    def __init__(self, adapter: FoundAdapter, calibration: str | Path | None, *, kept: bool) -> None:
        self.adapter, self.source, self.kept = adapter, calibration, kept

    def calibration(self, loaded: LoadedModel) -> Inputs | None:
        """The even paragraphs."""
        return self._inputs(loaded, 0, kept=self.kept)

    def verification(self, loaded: LoadedModel) -> Inputs | None:
        """The odd ones."""
        return self._inputs(loaded, 1, kept=True)

    def _inputs(self, loaded: LoadedModel, side: int, *, kept: bool) -> Inputs | None:
        """Every other paragraph.

        Raises:
            DataError: The text cannot be read, is too short, or is for a model that reads none.
        """
        batches = self.adapter.kind.text_batches(loaded.processor, _texts(self.source)[side], most=ROWS)
        if batches is None and self.source is not None:
            raise DataError(
                f"{self.source}: a {self.adapter.kind.name} model reads no text; give a study to fit to (task)"
            )
        return None if batches is None else _enough(self.adapter, loaded, batches, kept=kept)


def _texts(calibration: str | Path | None) -> tuple[str, str]:
    """A text to fit to, and another one to compare on."""
    source = GENERAL if calibration is None else str(calibration)
    paragraphs = list(islice(read_general_text(source), PARAGRAPHS if calibration is None else None))
    if len(paragraphs) < 2:
        raise DataError(f"{source}: has no two paragraphs of 80 letters, one to fit to and one to compare on")
    return "\n\n".join(paragraphs[::2]), "\n\n".join(paragraphs[1::2])
