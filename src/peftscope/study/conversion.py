"""Any adapter, by its folder, its run or the study that chose it -> a plain LoRA in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

from rich.console import RenderableType
from rich.text import Text

from peftscope.convert.convert import convert_adapter
from peftscope.convert.layouts import PADDED, WHOLE, served_rank
from peftscope.convert.layouts import Layout as Format
from peftscope.convert.merge import merge_adapter
from peftscope.convert.refine import Refined
from peftscope.convert.result import Checks, Conversion, Wish
from peftscope.schema.amounts import number_of
from peftscope.schema.metric import MetricSpec
from peftscope.schema.reader import read_study
from peftscope.schema.request import Request
from peftscope.study.adapters import FoundAdapter, find_adapter
from peftscope.study.conversion_inputs import OwnTask, ParagraphInputs, TaskSource
from peftscope.study.model_card import model_card
from peftscope.study.requirements import Amount
from peftscope.study.vocabulary import vocabulary
from peftscope.views.shown import Shown
from peftscope.views.units import bytes_text, metric_text

__all__ = ["ConvertedAdapter", "convert"]

DEFAULT_RANK = 64
WEIGHTS = (".safetensors", ".gguf")
"""What files of weights end in."""
SHOWN = 5
"""Layers shown: those that lose most."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ConvertedAdapter(Shown):
    """A conversion that shows itself."""

    schema: ClassVar[str] = "convert"
    conversion: Conversion
    metric: MetricSpec | None = None
    """Of the score, where there is one."""
    num_bytes: int = 0
    """Of the weights on disk."""
    is_scorable: bool = True
    """Whether scores before and after can be compared: those of a run on rounded weights are of another base."""

    @property
    def stands(self) -> bool:
        """Whether the LoRA stands for the adapter, as far as is known."""
        return self.conversion.verdict != "differs"

    def _content(self) -> Mapping[str, Any]:
        return {key: value for key, value in self.conversion.document().items() if key != "schema"}

    def _parts(self) -> Iterator[RenderableType]:
        found = self.conversion
        part = "" if found.strength == 1.0 else f" at strength {found.strength:g}"
        what = "merged model" if found.rank is None else f"LoRA of rank {found.rank}"
        yield Text(f"{found.method}{part} → {what}, {bytes_text(self.num_bytes)}: {found.folder}", style="bold")
        if found.output_error is None:
            yield Text("  outputs were not compared: there are no inputs that the adapter acts on", style="yellow")
        else:
            near = found.output_error <= found.tolerance
            yield Text(
                f"  outputs miss {100 * found.output_error:.2f} % of what the adapter does to them"
                f" ({'within' if near else 'beyond'} {100 * found.tolerance:g} %)",
                style="green" if near else "yellow" if self.stands else "red",
            )
        if found.refined is not None:
            yield Text(f"  {_of_refining(found.refined)}")
        for name, value in found.figures.items():
            yield Text(f"  {name}: {value:.4g} (the base without adapter: {found.base_figures[name]:.4g})")
        yield from self._of_score()
        yield from self._of_layers() if found.rank is not None else ()

    def _of_score(self) -> Iterator[RenderableType]:
        score, metric = self.conversion.score, self.metric
        if not self.is_scorable:
            yield Text("  not scored: the run's scores are of a base with rounded weights, or there are none")
        if score is None or metric is None:
            return
        of = ", ".join(metric_text(metric, value, signed=True) for value in score.interval)
        within = "" if score.margin is None else f" (margin {metric_text(metric, score.margin)})"
        yield Text(
            f"  {metric.name}: {metric_text(metric, score.before)} before, {metric_text(metric, score.after)} after;"
            f" change {metric_text(metric, score.change, signed=True)} [{of}]: {score.verdict}{within}",
            style={"equivalent": "green", "better": "green", "worse": "red"}.get(score.verdict, "yellow"),
        )

    def _of_layers(self) -> Iterator[RenderableType]:
        found = self.conversion
        worst = sorted(found.layers, key=lambda layer: -layer.error)[:SHOWN]
        yield Text("  weights that lose most of their change:")
        for layer in worst:
            kept = "" if layer.rank else ", given no rank"
            yield Text(f"    {100 * layer.error:6.2f} % (of {layer.error_of}{kept})  {layer.name}")
        if found.has_own_ranks and found.layout in PADDED:
            yield Text(
                f"  all are filled up to rank {found.rank}, since the format {found.layout} takes one rank for all"
            )
        if found.wholes:
            yield Text(
                f"  {len(found.wholes)} parameters are carried whole ({found.wholes[0]}, …), which peft loads and "
                "servers do not; they load the format merged",
                style="yellow",
            )
        elif found.has_own_ranks and found.layout == "peft":
            yield Text(
                "  each weight has a rank of its own, which vLLM does not read rightly; for it take the format vllm"
            )
        elif found.layout in ("peft", "vllm"):
            assert found.rank is not None
            limit = served_rank(found.rank)
            yield Text(
                "  scale is in the weights, alpha equals the rank; "
                + (f"vLLM: --max-lora-rank {limit}" if limit else "vLLM loads no rank as large")
            )
        if not self.stands:
            yield Text("  take a larger --rank, or --max-error with the error you can bear", style="red")


def convert(
    adapter: str | Path,
    output: str | Path,
    *,
    model: str | None = None,
    study: str | Path | None = None,
    task: str | Path | None = None,
    rank: int | None = None,
    energy: float | None = None,
    max_error: float | None = None,
    shared: bool = False,
    refine: int = 0,
    strength: float = 1.0,
    format: Format = "peft",
    tolerance: float | None = None,
    margin: Amount | None = None,
    score: bool = True,
    calibration: str | Path | None = None,
    told: Callable[[str], None] = lambda line: None,
    request: Request | None = None,
) -> ConvertedAdapter:
    """Convert an adapter of any method that merges into a plain LoRA, and compare the two.

    Args:
        adapter: Folder of an adapter, or its id on the hub; id of a run; or a study's file or folder, which means the
            method it recommends.
        output: Folder that is made for the LoRA.
        model: The base, where it is not the one a run or the adapter's config names.
        study: Where the run is looked for; all under ``results`` where None.
        task: For an adapter of others a study file, whose task it is fitted to, compared on and scored by.
        rank: Of the LoRA; 64 where nothing else is asked for.
        energy: In its place the share of all changes that is to be held, by the least rank.
        max_error: Or the error of outputs that may remain, as a share of what the adapter does, by the least rank.
        shared: Give each weight a rank of its own, where it cuts the error most; the size is then the mean rank. What
            loads such ranks wrongly gets them filled up to the largest.
        refine: Steps of distillation against the original's outputs, on the calibration inputs alone.
        strength: Share of the adapter's change to take, such as what ``interpolate`` says; all of it by default.
        format: ``peft``, which servers load as well; ``vllm``, the same within what vLLM loads; ``gguf``, one file for
            llama.cpp; ``diffusers``, ``kohya`` or ``comfy``, one file for models that draw; ``merged``, the whole model
            with the adapter in its weights, or ``merged-gguf``, that for llama.cpp.
        tolerance: Error of outputs up to which the LoRA is said to stand for the adapter; where None, ``max_error`` or
            0.1, whichever is more.
        margin: Change of the score that does not matter; 0.02 of a share where None.
        score: Score the test examples of a run's task again, with what was written.
        calibration: A text file like what the model will read; every other paragraph of it is kept for comparing. Where
            None, a run's own data (training split; validation split to compare), else a text that comes with peftscope.
        told: Called with a line for each stage.
        request: Collects what is wrong with the arguments, by the names they are given under.

    Raises:
        SpecError: Several sizes are asked for, one is out of range, or there is no such adapter, run or study.
        MethodRefused: A plain LoRA cannot hold what the adapter changes.
        ModelError: The base cannot be loaded, or is not the one the adapter was trained on.
        DataError: The text cannot be read, or is too short.
        StoreError: The adapter is damaged, or the output exists or cannot be written.
    """
    request = request or Request("convert")
    request.check("format", "format", format, get_args(Format))
    wish = wish_of(request, format, rank, {"energy": energy, "max_error": max_error, "tolerance": tolerance})
    if not isinstance(refine, int) or refine < 0:
        request.note("refine", f"{refine}; must be a whole number, 0 or more")
    if not 0.0 < strength <= 1.0:
        request.note("strength", f"{strength:g}; must be above 0 (the base) and at most 1 (the adapter)")
    for name, is_given in (("shared", shared), ("refine", refine)):
        if is_given and format in WHOLE:
            request.note(name, "a merged model has no factors; leave it out")
    if margin is not None and not score:
        request.note("margin", "is of a score, and none is to be taken; leave it out")
    wish = replace(wish, shared=shared, refine=refine, strength=strength)
    width = request.amount("margin", margin, number_of)
    request.end()
    found = find_adapter(str(adapter), model, Path(study) if study is not None else None)
    _refuse_what_counts_nothing(request, found, study=study, task=task, margin=margin)
    own = _task_of(found, task, width, kept=wish.follows_outputs, told=told)
    if own is not None and strength != 1.0:
        own.outcomes = ()  # the record's are of the whole adapter
    texts = ParagraphInputs(found, calibration, kept=wish.follows_outputs)
    inputs = own if own is not None and calibration is None else texts
    checks = Checks(
        calibration=inputs.calibration,
        verification=inputs.verification,
        scorer=own if own is not None and score and _is_comparable(found) else None,
        described=lambda made: model_card(
            made,
            base=found.base_name,
            record=found.record,
            chosen=found.chosen,
            scored=None if own is None or own.metric is None else (own.source.task, own.metric),
        ),
        told=told,
    )
    make = merge_adapter if format in WHOLE else convert_adapter
    done = make(found, Path(output).absolute(), wish, checks)
    return ConvertedAdapter(
        conversion=replace(done, folder=Path(output)),
        metric=None if own is None else own.metric,
        num_bytes=sum(path.stat().st_size for path in Path(output).iterdir() if path.suffix in WEIGHTS),
        is_scorable=own is None or not score or checks.scorer is not None,
    )


def _refuse_what_counts_nothing(request: Request, found: FoundAdapter, *, study: Any, task: Any, margin: Any) -> None:
    """Refuse what is asked for beside an adapter that it says nothing of."""
    if found.record is not None:
        if task is not None:
            request.note("task", "a run has its own; leave it out")
    else:
        if study is not None:
            request.note("study", "says where a run lies, and this adapter is of others; leave it out, or give a task")
        if margin is not None and task is None:
            request.note("margin", "is of a score, and nothing is scored without a task; leave it out, or give a task")
    request.end()


def _task_of(
    found: FoundAdapter, task: str | Path | None, margin: float | None, *, kept: bool, told: Callable[[str], None]
) -> OwnTask | None:
    """The task of a run, or the one named for an adapter of others; None where there is none."""
    if found.record is not None:
        source = TaskSource.of_run(found.record, found.study_base)
        return OwnTask(found, source, margin=margin, kept=kept, told=told)
    if task is None:
        return None
    spec = read_study(Path(task), vocabulary())
    source = TaskSource(task=spec.task, batch_size=spec.train.batch_size, place=Path(task).parent)
    return OwnTask(found, source, margin=margin, kept=kept, told=told)


def _is_comparable(found: FoundAdapter) -> bool:
    """Whether scores can be compared: those of a run on rounded weights are of another base."""
    return found.record is None or (bool(found.record.examples) and found.record.spec.model.quantization is None)


def _of_refining(found: Refined) -> str:
    """What a distillation brought, in words."""
    came = f"{found.before:.4g} to {found.after:.4g} on inputs kept from it"
    return f"refined in {found.steps} steps: divergence from {came}" + ("" if found.helped else "; not kept")


def wish_of(request: Request, layout: Format, rank: int | None, shares: Mapping[str, float | None]) -> Wish:
    """What is asked for, by its size; the problems go to the request."""
    sizes = {"rank": rank, **{name: shares[name] for name in ("energy", "max_error")}}
    given = [name for name, value in sizes.items() if value is not None]
    if len(given) > 1:
        options = " and ".join(map(request.option, given))
        request.problems.append(f"{options}: each decides the rank; give one of them")
    for name in given if layout in WHOLE else ():
        request.note(name, "a merged model has no rank; leave it out")
    if rank is not None and (not isinstance(rank, int) or rank < 1):
        request.note("rank", f"{rank}; must be a whole number, 1 or more")
    for name, value in shares.items():
        if value is not None and not 0.0 < value <= 1.0:
            request.note(name, f"{value:g}; must be above 0 and at most 1")
    return Wish(
        rank=rank if given else DEFAULT_RANK,
        energy=shares["energy"],
        max_error=shares["max_error"],
        layout=layout,
        tolerance=shares.get("tolerance"),
    )
