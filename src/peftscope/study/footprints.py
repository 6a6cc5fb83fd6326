"""What methods take on a model, predicted from its config alone, as an answer that shows itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from rich.console import Console, RenderableType
from rich.text import Text

from peftscope.execution.executors.forking import warm_up
from peftscope.footprint.footprint import Forecast
from peftscope.footprint.gpus import memory_of
from peftscope.methods.catalog import BASE, cards
from peftscope.schema.request import Request
from peftscope.schema.study import TrainSpec
from peftscope.study.footprint_queries import Circumstances, about_experiments, about_methods, about_study
from peftscope.study.plan_document import plan_notes
from peftscope.views.footprints import footprint_table
from peftscope.views.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

    from peftscope.footprint.query import FootprintQuery

__all__ = ["FootprintRequest", "Footprints", "predict"]

DTYPES = ("bfloat16", "float16", "float32")
SHORT = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
WIDE = 140
"""Columns the table needs at most."""


@dataclass(frozen=True, kw_only=True)
class FootprintRequest:
    """What is asked, as it was given; ``predict_memory`` says what each argument means."""

    model: str | None = None
    methods: str | Sequence[str] | None = None
    study: Path | None = None
    experiments: Path | None = None
    batch_size: int | None = None
    seq_len: int | None = None
    eval_batch_size: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    optimizer: str = "adamw"
    memory: str | None = None
    checkpointing: bool | None = None
    device: str = "accelerator"
    tflops: float | None = None
    max_memory: str | float | None = None

    def read(self, request: Request) -> tuple[list[str], Circumstances, int | None]:
        """Methods by name, the circumstances, and the limit in bytes.

        Raises:
            SpecError: With everything that is wrong.
        """
        from peftscope.methods.optimizers import GENERAL

        limit = request.amount("max_memory", self.max_memory, memory_of)
        dtype = None if self.dtype is None else SHORT.get(self.dtype, self.dtype)
        memory_settings = get_args(TrainSpec.model_fields["memory"].annotation)
        request.check("device", "device", self.device, ("accelerator", "cpu"))
        request.check("dtype", "dtype", dtype or DTYPES[0], (*DTYPES, *SHORT))
        request.check("quantization", "quantization", self.quantization or "nf4", ("nf4", "int8"))
        request.check("optimizer", "optimizer", self.optimizer, GENERAL)
        request.check("memory", "memory setting", self.memory or "plain", memory_settings)
        if sum(given is not None for given in (self.study, self.methods, self.experiments)) > 1:
            names = ", ".join(request.option(name) for name in ("methods", "experiments"))
            request.problems.append(f"give a study or one of {names}, not several of them")
        methods = self._names(request)
        if self.model is None and self.study is None and self.experiments is None:
            request.note("model", "which base? A hub id, a folder, or the path of a config.json")
        request.end()
        circumstances = Circumstances(
            model=self.model,
            batch_size=self.batch_size,
            length=self.seq_len,
            eval_batch_size=self.eval_batch_size,
            dtype=dtype,  # type: ignore[arg-type]  # checked above
            quantization=self.quantization,  # type: ignore[arg-type]
            checkpointing=self.checkpointing,
            memory=self.memory,  # type: ignore[arg-type]
            optimizer=self.optimizer,
            target="cpu" if self.device == "cpu" else "accelerator",
        )
        return methods, circumstances, None if limit is None else int(limit)

    def _names(self, request: Request) -> list[str]:
        """Methods by name: those asked for, all, or one per ``peft`` type."""
        if self.methods is None or self.methods == "all":
            own = [card for card in cards().values() if card.name != BASE]
            return [card.name for card in own if self.methods == "all" or card.variant_of is None]
        names = request.names("methods", "method", self.methods, cards())
        if not names:
            request.note("methods", "nothing given")
        return names


@dataclass(frozen=True, kw_only=True, repr=False)
class Footprints(Shown):
    """Predictions, those of the smallest peak first."""

    answers: tuple[tuple[FootprintQuery, Forecast], ...]
    limit: int | None = None
    """Bytes there are."""
    tflops: float | None = None
    """What the device does of 10¹² operations a second."""
    notes: tuple[str, ...] = ()
    """What is to be known of the base: how it is packed, and what the policy for targets leaves out of it."""

    schema: ClassVar[str] = "plan"

    @property
    def forecasts(self) -> list[Forecast]:
        """One per method."""
        return [forecast for _, forecast in self.answers]

    @property
    def is_empty(self) -> bool:
        """Whether nothing could be predicted."""
        return all(forecast.footprint.peak_bytes is None for forecast in self.forecasts)

    @property
    def warnings(self) -> list[str]:
        """What the predictions leave out, each once."""
        return list(dict.fromkeys([*self.notes, *(note for each in self.forecasts for note in each.footprint.notes)]))

    def frame(self) -> pd.DataFrame:
        """One row per method; bytes, counts and seconds."""
        import pandas as pd

        return pd.DataFrame(self.document()["methods"])

    def _content(self) -> Mapping[str, Any]:
        return {
            "max_memory_bytes": self.limit,
            "tflops": self.tflops,
            "methods": [_entry(query, forecast, self.tflops) for query, forecast in self.answers],
        }

    def _parts(self) -> Iterator[RenderableType]:
        for line in sorted({query.described() for query, _ in self.answers}):
            yield Text(line, style="bold")
        if not self.is_empty:
            device = self.answers[0][0].workload.target
            yield footprint_table(self.forecasts, device=device, limit=self.limit, tflops=self.tflops)
        for forecast in self.forecasts:
            found = forecast.footprint
            if found.reason is not None:
                name = found.experiment or found.method
                yield Text(f"{name}: {found.reason.removeprefix(f'{name}: ')}", style="dim")


def predict(asked: FootprintRequest, request: Request, *, quiet: bool = False) -> Footprints:
    """Predict parameters, checkpoint and peak memory.

    Args:
        asked: What is asked.
        request: Collects what is wrong with it.
        quiet: Show no progress.

    Raises:
        SpecError: It cannot be read.
        ModelError: There is no such model, or it is none we can predict.
    """
    names, given, limit = asked.read(request)
    if len(names) != 1:
        warm_up()  # imports what counting needs while this process imports what asking needs
    if asked.study is not None:
        queries = about_study(asked.study, given)
    elif asked.experiments is not None:
        queries = about_experiments(asked.experiments, given)
    else:
        queries = about_methods(names, given)
    found = _count(queries, limit, quiet=quiet)
    notes = plan_notes(queries[0], asked.max_memory)
    return Footprints(answers=tuple(found), limit=limit, tflops=asked.tflops, notes=tuple(notes))


def _count(
    queries: Sequence[FootprintQuery], limit: int | None, *, quiet: bool
) -> list[tuple[FootprintQuery, Forecast]]:
    """Forecasts, smallest first."""
    from peftscope.footprint.forecast import forecasts

    found = []
    with Console(stderr=True, quiet=quiet).status("counting") as status:
        from joblib import cpu_count  # importing it sets an environment variable

        answers = forecasts(queries, limit=limit, workers=min(cpu_count(), len(queries)), context=warm_up())
        for query, forecast in zip(queries, answers, strict=True):
            found.append((query, forecast))
            status.update(f"counting: {len(found)} of {len(queries)}")
    return sorted(found, key=_size)


def _size(answer: tuple[FootprintQuery, Forecast]) -> tuple[bool, int]:
    peak = answer[1].footprint.peak_bytes
    return peak is None, peak or 0


def _entry(query: FootprintQuery, forecast: Forecast, tflops: float | None) -> dict[str, Any]:
    found, load = forecast.footprint, query.workload
    return {
        "name": found.method,
        "experiment": found.experiment,
        "base": query.profile.described(),
        "device": load.target,
        "batch_size": load.batch_size,
        "seq_len": load.length,
        "checkpointing": load.train.checkpointing,
        "memory": load.train.memory,
        "trainable_params": found.num_trainable_params,
        "total_params": found.num_total_params,
        "checkpoint_bytes": found.checkpoint_bytes,
        "checkpoint_least_bytes": found.checkpoint_least_bytes,
        "peak_train_bytes": found.peak_train_bytes,
        "live_train_bytes": found.live_train_bytes,
        "peak_eval_bytes": found.peak_eval_bytes,
        "breakdown": None if found.breakdown is None else vars(found.breakdown),
        "eval_breakdown": None if found.eval_breakdown is None else vars(found.eval_breakdown),
        "flops_per_step": found.flops_per_step,
        "step_time_s": found.step_time_s(tflops),
        "fits": forecast.fits,
        "largest_batch": forecast.largest_batch,
        "largest_seq_len": forecast.largest_length,
        "fits_with": forecast.fits_with,
        "peak_with_memory_bytes": dict(forecast.memory_bytes),
        "peak_with_checkpointing_bytes": forecast.checkpointed_bytes,
        "peak_with_nf4_bytes": forecast.nf4_bytes,
        "peak_with_both_bytes": forecast.both_bytes,
        "largest_batch_with_both": forecast.both_batch,
        "layers_counted": found.layers_counted,
        "notes": list(found.notes),
        "reason": found.reason,
    }
