"""What a conversion is fitted to, compared on and scored by: a run's own task, or a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import chdir
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from peftscope.analysis.criteria import criteria_for
from peftscope.analysis.score_change import ScoreChange, score_change
from peftscope.convert.inputs import Inputs
from peftscope.errors import DataError
from peftscope.measures.score import score_split
from peftscope.models.kinds.base import Batch, LoadedModel
from peftscope.schema.base import content_hash
from peftscope.schema.record import ExampleOutcome, RunRecord
from peftscope.study.adapters import FoundAdapter
from peftscope.tasks.base import Task, TaskContext
from peftscope.tasks.registry import create
from peftscope.tasks.text.general_text import read_general_text

__all__ = ["OwnTask", "ParagraphInputs"]

GENERAL = "sotu"
"""Text that comes with peftscope, where no other is given."""
PARAGRAPHS = 400
"""Of it: the even ones calibrate, on the odd ones models are compared."""
ROWS = 2048
"""Of output (tokens of a text, places of a picture): so many calibrate, and on so many others models are compared …"""
MOST_BYTES = 2**28
"""… or on as many as have outputs of that size, which are kept."""


class OwnTask:
    """The task of a run: its data to fit to and to compare on, its test examples to score again."""

    def __init__(
        self, adapter: FoundAdapter, record: RunRecord, margin: float | None, told: Callable[[str], None]
    ) -> None:
        self.adapter, self.record, self.margin, self.told = adapter, record, margin, told
        self._made: Task | None = None

    @property
    def scores(self) -> bool:
        """Whether scores before and after can be compared: those of a run on rounded weights are of another base."""
        return bool(self.record.examples) and self.record.spec.model.quantization is None

    def calibration(self, loaded: LoadedModel) -> Inputs | None:
        """Batches of the training split."""
        with chdir(self.adapter.study_base):
            batches = self._task(loaded).batches(self.record.spec.seed)
            return _enough(self.adapter, loaded, batches, kept=False)

    def verification(self, loaded: LoadedModel) -> Inputs | None:
        """Batches of the validation split."""
        with chdir(self.adapter.study_base):
            return _enough(self.adapter, loaded, self._task(loaded).eval_batches("valid"))

    def change(self, model: nn.Module, loaded: LoadedModel) -> ScoreChange:
        """Score the test examples and set them against the record's."""
        record = self.record
        assert record.metric is not None
        self.told("score")
        predictor = self.adapter.kind.predictor(loaded, lambda *_: None)
        with chdir(self.adapter.study_base):
            outcomes = score_split(self._task(loaded), model, predictor, "test")
        groups = {each.example_id: each.group for each in record.examples}
        after = [
            ExampleOutcome(example_id=o.example_id, score=o.score, draw=o.draw, group=groups.get(o.example_id))
            for o in outcomes
        ]
        criteria = criteria_for(record.metric, margin=self.margin)
        return score_change(record.examples, after, criteria, sign=-1.0 if record.metric.direction == "lower" else 1.0)

    def _task(self, loaded: LoadedModel) -> Task:
        """The run's, made once.

        Raises:
            DataError: Its data are no longer those the run was trained on.
        """
        if self._made is None:
            spec = self.record.spec
            context = TaskContext(
                processor=loaded.processor, kind=self.adapter.kind.name, batch_size=spec.train.batch_size
            )
            task = create(spec.task, context)
            if spec.vary_split:
                task.resplit(spec.seed)
            if self.record.data and content_hash(task.fingerprint()) != content_hash(self.record.data):
                raise DataError(
                    f"the data of run {self.record.run_id} are no longer those it was trained on; give a text to fit "
                    "to (calibration) and leave the score out (score=False, --no-score)"
                )
            self._made = task
        return self._made


@torch.no_grad()
def _enough(
    adapter: FoundAdapter, loaded: LoadedModel, batches: Iterable[Batch], *, kept: bool = True
) -> Inputs | None:
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
        if num_rows >= ROWS or (kept and num_bytes >= MOST_BYTES):
            break
    return inputs if taken else None


class ParagraphInputs:
    """A text: every other paragraph to fit to, the rest to compare on.

    Args:
        adapter: What is converted.
        calibration: A text file; None takes the text that comes with peftscope.
    """

    def __init__(self, adapter: FoundAdapter, calibration: str | Path | None) -> None:
        self.adapter, self.source = adapter, calibration

    def calibration(self, loaded: LoadedModel) -> Inputs | None:
        """The even paragraphs."""
        return self._inputs(loaded, 0)

    def verification(self, loaded: LoadedModel) -> Inputs | None:
        """The odd ones."""
        return self._inputs(loaded, 1)

    def _inputs(self, loaded: LoadedModel, side: int) -> Inputs | None:
        """Every other paragraph.

        Raises:
            DataError: The text cannot be read, or is too short.
        """
        batches = self.adapter.kind.text_batches(loaded.processor, _texts(self.source)[side], most=ROWS)
        return None if batches is None else _enough(self.adapter, loaded, batches)


def _texts(calibration: str | Path | None) -> tuple[str, str]:
    """A text to fit to, and another one to compare on."""
    source = GENERAL if calibration is None else str(calibration)
    paragraphs = list(islice(read_general_text(source), PARAGRAPHS if calibration is None else None))
    if len(paragraphs) < 2:
        raise DataError(f"{source}: has no two paragraphs of 80 letters, one to fit to and one to compare on")
    return "\n\n".join(paragraphs[::2]), "\n\n".join(paragraphs[1::2])
