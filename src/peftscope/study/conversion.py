"""Any adapter, by its folder, its run or the study that chose it -> a plain LoRA in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from rich.console import RenderableType
from rich.text import Text

from peftscope.convert.convert import Adapter, Conversion, Wish, convert_adapter, merge_adapter
from peftscope.errors import DataError, SpecError, StoreError
from peftscope.methods.adapter_config import method_name
from peftscope.methods.catalog import card
from peftscope.models.kinds.registry import KINDS, choose
from peftscope.models.source import anchored
from peftscope.schema.study import ModelSpec
from peftscope.store.base_folder import base_folder
from peftscope.store.files import record_path
from peftscope.store.local_paths import public_source
from peftscope.study.folder import find_record
from peftscope.study.trained import best_run
from peftscope.tasks.registry import kind_of
from peftscope.tasks.text.general_text import read_general_text
from peftscope.views.shown import Shown
from peftscope.views.units import bytes_text

__all__ = ["ConvertedAdapter", "convert"]

DEFAULT_RANK = 64
GENERAL = "sotu"
"""Text that comes with peftscope, where no other is given."""
PARAGRAPHS = 400
"""Of it: the even ones calibrate, on the odd ones models are compared."""
SHOWN = 5
"""Layers shown: those that lose most."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ConvertedAdapter(Shown):
    """A conversion that shows itself."""

    schema: ClassVar[str] = "convert"
    conversion: Conversion = field()

    @property
    def stands(self) -> bool:
        """Whether the LoRA stands for the adapter, as far as is known."""
        return self.conversion.stands or self.conversion.output_error is None

    def _content(self) -> Mapping[str, Any]:
        return {key: value for key, value in self.conversion.document().items() if key != "schema"}

    def _parts(self) -> Iterator[RenderableType]:
        found = self.conversion
        size = sum(path.stat().st_size for path in found.folder.glob("*.safetensors"))
        what = "merged model" if found.rank is None else f"LoRA of rank {found.rank}"
        yield Text(f"{found.method} → {what}, {bytes_text(size)}: {found.folder}", style="bold")
        if found.output_error is None:
            yield Text("  outputs were not compared: no such inputs for this kind of model", style="yellow")
        else:
            style = "green" if found.stands else "red"
            yield Text(
                f"  outputs miss {100 * found.output_error:.2f} % of what the adapter does to them"
                f" ({'within' if found.stands else 'beyond'} {100 * found.tolerance:g} %)",
                style=style,
            )
        for name, value in found.figures.items():
            yield Text(f"  {name}: {value:.4g} (the base without adapter: {found.base_figures[name]:.4g})")
        yield from self._of_layers() if found.rank is not None else ()

    def _of_layers(self) -> Iterator[RenderableType]:
        found = self.conversion
        worst = sorted(found.layers, key=lambda layer: -layer.error)[:SHOWN]
        of = "outputs" if found.is_calibrated else "weights"
        yield Text(f"  layers that lose most of their change, by {of}:")
        for layer in worst:
            yield Text(f"    {100 * layer.error:6.2f} %  {layer.name}")
        yield Text(
            f"  servers need max_lora_rank {found.rank} at least; scale is in the weights, alpha equals the rank"
        )
        if not found.stands and found.output_error is not None:
            yield Text("  take a larger --rank, or --max-error with the error you can bear", style="red")


def convert(
    adapter: str | Path,
    output: str | Path,
    *,
    model: str | None = None,
    study: str | Path | None = None,
    rank: int | None = None,
    energy: float | None = None,
    max_error: float | None = None,
    format: Literal["peft", "merged"] = "peft",
    tolerance: float = 0.1,
    calibration: str | Path | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> ConvertedAdapter:
    """Convert an adapter of any method that merges into a plain LoRA, and compare the two.

    Args:
        adapter: Folder of an adapter; id of a run; or a study's file or folder, which means the method it recommends.
        output: Folder that is made for the LoRA.
        model: The base, where it is not the one a run or the adapter's config names.
        study: Where the run is looked for; all under ``results`` where None.
        rank: Of the LoRA; 64 where nothing else is asked for.
        energy: In its place the share of all changes that is to be held, by the least rank.
        max_error: Or the error of outputs that may remain, as a share of what the adapter does, by the least rank.
        format: ``peft``, which servers load as well; or ``merged``, the whole model with the adapter in its weights.
        tolerance: Error of outputs up to which the LoRA is said to stand for the adapter.
        calibration: A text file like what the model will read; every other paragraph of it is kept for comparing.
        told: Called with a line for each stage.

    Raises:
        SpecError: Several sizes are asked for, one is out of range, or there is no such adapter, run or study.
        MethodRefused: A plain LoRA cannot hold what the adapter changes.
        ModelError: The base cannot be loaded, or is not the one the adapter was trained on.
        DataError: The text cannot be read, or is too short.
        StoreError: The adapter is damaged, or the output exists or cannot be written.
    """
    wish = _wish(rank, energy, max_error, tolerance)
    found = _found(str(adapter), model, Path(study) if study is not None else None)
    fit, check = _texts(calibration)
    if format == "merged":
        merged = merge_adapter(found, Path(output), verification=check, tolerance=tolerance, told=told)
        return ConvertedAdapter(conversion=merged)
    conversion = convert_adapter(found, Path(output), wish, calibration=fit, verification=check, told=told)
    return ConvertedAdapter(conversion=conversion)


def _wish(rank: int | None, energy: float | None, max_error: float | None, tolerance: float) -> Wish:
    given = {"rank": rank, "energy": energy, "max_error": max_error}
    several = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    problems = [f"{' and '.join(several)}: each decides the rank; give one of them"] if len(several) > 1 else []
    if rank is not None and rank < 1:
        problems.append(f"--rank: {rank}; must be at least 1")
    for name, value in (("energy", energy), ("max-error", max_error), ("tolerance", tolerance)):
        if value is not None and not 0.0 < value <= 1.0:
            problems.append(f"--{name}: {value:g}; must be above 0 and at most 1")
    if problems:
        raise SpecError("convert", problems)
    return Wish(rank=DEFAULT_RANK if not several else rank, energy=energy, max_error=max_error, tolerance=tolerance)


def _found(adapter: str, model: str | None, study: Path | None) -> Adapter:
    folder = Path(adapter)
    if (folder / "adapter_config.json").is_file():
        run = record_path(folder.parent.parent, folder.name)
        return _of_run(str(run), None) if run.is_file() and model is None else _foreign(folder, model)
    if folder.exists() and folder.suffix != ".json":
        from peftscope.study.study import Study

        opened = Study.load(folder)
        return _of_run(best_run(opened), opened.folder)
    return _of_run(adapter, study)


def _of_run(run: str, study: Path | None) -> Adapter:
    folder, record = find_record(run, study)
    adapter, known = folder / "adapters" / record.run_id, card(record.spec.method.name)
    if not adapter.is_dir():
        raise SpecError(record.run_id, [f"its adapter is not there ({adapter}); {record.status}: a final run has one"])
    base = anchored(record.spec.model, base_folder(folder))
    return Adapter(
        folder=adapter,
        card=known,
        base=base,
        kind=kind_of(base, record.spec.task),
        weights_sha256=record.weights_sha256,
        base_name=public_source(record.spec.model.source),
        revision=record.spec.model.revision,
    )


def _foreign(folder: Path, model: str | None) -> Adapter:
    try:
        raw = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder / 'adapter_config.json'}: cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise StoreError(f"{folder / 'adapter_config.json'}: holds no settings")
    source = model or raw.get("base_model_name_or_path")
    if not isinstance(source, str) or not source:
        raise SpecError(str(folder), ["its config names no base; say which with --model"])
    base = ModelSpec(source=source, revision=None if model else raw.get("revision"))
    return Adapter(
        folder=folder,
        card=card(method_name(raw, {})),
        base=base,
        kind=choose(base, KINDS.names()),
        base_name=public_source(source),
        revision=base.revision,
    )


def _texts(calibration: str | Path | None) -> tuple[str, str]:
    """A text to fit to, and another one to compare on."""
    source = GENERAL if calibration is None else str(calibration)
    paragraphs = list(islice(read_general_text(source), PARAGRAPHS if calibration is None else None))
    if len(paragraphs) < 2:
        raise DataError(f"{source}: has no two paragraphs of 80 letters, one to fit to and one to compare on")
    return "\n\n".join(paragraphs[::2]), "\n\n".join(paragraphs[1::2])
