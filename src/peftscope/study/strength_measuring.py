"""Measuring adapters at strengths between 0 and 1, through the very functions that scored their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from peftscope.convert.changes import kept_originals
from peftscope.convert.fidelity import distance, distance_of, outputs_of
from peftscope.convert.inputs import Inputs
from peftscope.convert.result import TOLERANCE
from peftscope.convert.strength import Interpolated, held_changes
from peftscope.errors import DataError, MethodRefused, ModelError
from peftscope.execution.baseline import retention_baseline
from peftscope.measures.score import score_split
from peftscope.methods import checkpoint
from peftscope.models.kinds.base import LoadedModel
from peftscope.models.source import anchored
from peftscope.schema.base import content_hash
from peftscope.schema.record import ExampleOutcome, RunRecord, timestamp
from peftscope.schema.strength import StrengthRecord
from peftscope.store.base_folder import base_folder
from peftscope.study.run_choice import adapter_folder
from peftscope.study.strengths import card_with_strengths, key_of, made_of
from peftscope.tasks.base import Retention, Split, Task, TaskContext
from peftscope.tasks.registry import create, kind_of
from peftscope.tasks.sealed import sealed

__all__ = ["measure_strengths"]


def measure_strengths(
    record: RunRecord,
    folder: Path,
    strengths: Sequence[float],
    *,
    done: Callable[[StrengthRecord], None],
    told: Callable[[str], None] = lambda line: None,
) -> None:
    """Measure a run's adapter at strengths: the untouched base at 0, the adapter itself at 1, else weights in between.

    The base is in memory once, with the adapter's changes beside it. The run's own number of threads is taken, since
    another one adds up in another order.

    Args:
        record: Of a final run that ended well.
        folder: Of its study, where its adapter lies.
        strengths: From 0 to 1, in any order.
        done: Called with each as soon as it is measured.
        told: Called with a line for each stage.

    Raises:
        MethodRefused: The method does not merge, or not into what its adapter does.
        ModelError: The base cannot be loaded, is quantized, or is not the one of the run.
        DataError: The data are no longer those of the run.
        StoreError: The adapter is missing or damaged, or the folder is not writable.
    """
    card, bench = card_with_strengths(record), _Bench(record, folder.absolute(), told)
    with _threads_of(record):
        loaded = bench.load()
        bench.prepare(loaded)
        if 0.0 in strengths:
            done(bench.measured(loaded.model, loaded, 0.0))
        between = sorted(s for s in strengths if 0.0 < s < 1.0)
        if 1.0 not in strengths and not between:
            return
        adapter = adapter_folder(folder.absolute(), record)
        with kept_originals(loaded.model, card) as originals:
            adapted = checkpoint.load(loaded.model, adapter, card).to(loaded.device)
            if 1.0 in strengths:
                done(bench.measured(adapted, loaded, 1.0))
            if not between:
                return
            told("changes")
            wanted = bench.outputs(adapted, loaded)
            found = held_changes(adapted, card, originals)
        del adapted, loaded
        fresh = bench.load()
        interpolated = Interpolated(fresh.model, found)
        bench.require_whole(interpolated, fresh, wanted)
        for strength in between:
            with interpolated.at(strength) as model:
                done(bench.measured(model, fresh, strength))


class _Bench:
    """A run's base, task and general text.

    Args:
        record: Of the run.
        folder: Of its study, absolute.
        told: Called with a line for each stage.
    """

    def __init__(self, record: RunRecord, folder: Path, told: Callable[[str], None]) -> None:
        self.record, self.folder, self.told = record, folder, told
        self._model = anchored(record.spec.model, base_folder(folder))
        self._kind = kind_of(self._model, record.spec.task)
        self._task: Task | None = None
        self._retention: Retention | None = None
        self._baseline: Mapping[str, Tensor] = {}

    def load(self) -> LoadedModel:
        """The untouched base.

        Raises:
            ModelError: It is not the one the run was trained on.
        """
        self.told("load")
        loaded = self._kind.load(self._model)
        wanted = self.record.weights_sha256
        if wanted is not None and loaded.weights_sha256 != wanted:
            raise ModelError(
                f"{self.record.spec.model.source!r} is not the base the adapter was trained on: its weights have the "
                f"hash {str(loaded.weights_sha256)[:12]}, the run's record says {wanted[:12]}"
            )
        return loaded

    def prepare(self, loaded: LoadedModel) -> None:
        """Make the task, and measure what the base can do before anything touches it.

        Raises:
            DataError: The data are no longer those of the run.
            StoreError: The cache cannot be written to.
        """
        spec = self.record.spec
        with chdir(base_folder(self.folder)):
            context = TaskContext(processor=loaded.processor, kind=self._kind.name, batch_size=spec.train.batch_size)
            task = create(spec.task, context)
            if spec.vary_split:
                task.resplit(spec.seed)
            if content_hash(task.fingerprint()) != content_hash(dict(self.record.data)):
                raise DataError("the data are no longer those the adapter was trained and scored on")
            self._task, self._retention = task, task.retention()
            if self._retention is not None:
                self.told("what the base knows")
                self._baseline = retention_baseline(self._retention, loaded, spec.model, self.folder / "cache")

    def outputs(self, model: nn.Module, loaded: LoadedModel) -> list[Tensor] | None:
        """Outputs on the first validation batch; None where models of this kind are not compared by theirs."""
        with chdir(base_folder(self.folder)):
            try:
                return outputs_of(model, self._first_batch(loaded))
            except NotImplementedError:
                return None

    def require_whole(self, interpolated: Interpolated, loaded: LoadedModel, wanted: list[Tensor] | None) -> None:
        """Refuse changes that do not lead to the adapter: nothing between them and the base would mean anything.

        Raises:
            MethodRefused: With the whole change in its weights, the base does something else than the adapter.
        """
        base = None if wanted is None else self.outputs(loaded.model, loaded)
        if wanted is None or base is None:
            return
        inputs = self._first_batch(loaded)
        with interpolated.at(1.0) as model:
            away = distance(model, wanted, inputs).share_of(distance_of(base, wanted, inputs))
        if away > TOLERANCE:
            raise MethodRefused(
                f"{self.record.spec.method.name} has no strengths between 0 and 1: with its whole change in the "
                f"weights the base misses {100 * away:.0f} % of what the adapter does"
            )

    def _first_batch(self, loaded: LoadedModel) -> Inputs:
        assert self._task is not None
        batches = [next(iter(self._task.eval_batches("valid")))]
        return Inputs(kind=self._kind, processor=loaded.processor, batches=batches)

    def measured(self, model: nn.Module, loaded: LoadedModel, strength: float) -> StrengthRecord:
        """Scores and what the task measures against the base; validation is scored with the test split sealed."""
        assert self._task is not None
        metrics: dict[str, float] = {}
        with chdir(base_folder(self.folder)):
            if self._retention is not None:
                self.told(f"strength {strength:g}: what it keeps of the base")
                metrics = self._retention.compare(model, dict(self._baseline))
            self.told(f"strength {strength:g}: validation split")
            valid = self._scored(sealed(self._task), model, loaded, "valid")
            self.told(f"strength {strength:g}: test split")
            test = self._scored(self._task, model, loaded, "test")
        return StrengthRecord(
            key=key_of(self.record, strength),
            strength=strength,
            made_of=made_of(self.record, strength),
            valid=valid,
            test=test,
            metrics=metrics,
            measured_at=timestamp(),
        )

    def _scored(self, task: Task, model: nn.Module, loaded: LoadedModel, split: Split) -> tuple[ExampleOutcome, ...]:
        predictor = self._kind.predictor(loaded, lambda *_: None)
        return tuple(
            ExampleOutcome(example_id=each.example_id, score=each.score, draw=each.draw, group=each.group)
            for each in score_split(task, model, predictor, split)
        )


@contextmanager
def _threads_of(record: RunRecord) -> Iterator[None]:
    counts = [a.environment.get("num_threads") for a in record.attempts if a.kind == "run" and a.environment]
    before = torch.get_num_threads()
    if counts and counts[-1]:
        torch.set_num_threads(int(counts[-1]))
    try:
        yield
    finally:
        torch.set_num_threads(before)
