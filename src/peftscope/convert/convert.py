"""A trained adapter -> a folder with a plain LoRA, reloaded onto the original base and compared before it is there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from peftscope.analysis.score_change import ScoreChange
from peftscope.convert.changes import kept_originals
from peftscope.convert.conversion import ConvertedLayer, convert_layers, lora_weights, uniform_rank
from peftscope.convert.fidelity import Distance, distance, distance_of, outputs_of
from peftscope.convert.inputs import Inputs
from peftscope.convert.layouts import Layout, lay_out, require_layout
from peftscope.errors import MethodRefused, ModelError, SpecError
from peftscope.methods import checkpoint
from peftscope.methods.build import merging
from peftscope.methods.card import Card
from peftscope.methods.catalog import card as card_of
from peftscope.methods.plain_lora import PLAIN, attach_plain_lora, cut_plain_lora
from peftscope.models.kinds.base import LoadedModel, ModelKind
from peftscope.schema.study import ModelSpec
from peftscope.store.files import new_folder, write_text

Verdict = Literal["equivalent", "differs", "unchecked"]

Scorer = Callable[[nn.Module, LoadedModel], ScoreChange]
"""Scores a converted model on its base's device, and sets that against the original."""

InputsOf = Callable[[LoadedModel], Inputs | None]
"""Makes inputs for a base."""

__all__ = ["Adapter", "Checks", "Conversion", "LayerLoss", "Wish", "convert_adapter", "merge_adapter"]

MOST_RANK = 256
"""Where no rank is given, none beyond it is tried: the largest that common servers load."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A trained adapter on disk."""

    folder: Path
    card: Card
    """Of its method."""
    base: ModelSpec
    kind: ModelKind
    weights_sha256: str | None = None
    """Hash of the base it was trained on; None where nobody noted it."""
    base_name: str | None = None
    """What the LoRA's config is to call its base."""
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How large the LoRA may be or how near it must come: exactly one is given."""

    rank: int | None = None
    energy: float | None = None
    """Share of the energy of all changes that is to be held, by the least rank."""
    max_error: float | None = None
    """Of the outputs, as a share of what the adapter does to them, by the least rank."""
    layout: Layout = "peft"
    tolerance: float = 0.1
    """Output error up to which the LoRA is said to stand for the adapter."""


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What a result is fitted to, compared on and scored by."""

    calibration: InputsOf = lambda loaded: None
    """Gives the inputs on which errors of outputs count; without, errors of weights do."""
    verification: InputsOf = lambda loaded: None
    """Gives other inputs, on which the result is compared; without, it is not."""
    scorer: Scorer | None = None
    """Scores what was written; None leaves the score out."""
    described: Callable[[Conversion], str | None] = lambda found: None
    """Gives the text of the card that goes with it; None for none."""
    told: Callable[[str], None] = lambda line: None
    """Called with a line for each stage."""


@dataclass(frozen=True, kw_only=True)
class LayerLoss:
    """What one weight's change lost."""

    name: str
    rank: int
    change_norm: float
    error: float
    """Share of the change that is missing."""
    error_of: Literal["outputs", "weights"]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What came out."""

    folder: Path
    method: str
    rank: int | None
    """Of the LoRA; None where the adapter was merged into the base."""
    layers: tuple[LayerLoss, ...] = ()
    output_error: float | None
    """Of outputs on inputs that nothing was fitted to, as a share of the adapter's effect; None where there are no such
    inputs, or the adapter does nothing to their outputs."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Other distances from the adapter's outputs, as the kind has them …"""
    base_figures: Mapping[str, float] = field(default_factory=dict)
    """… and those of the base alone, to compare with."""
    tolerance: float
    layout: Layout = "peft"
    score: ScoreChange | None = None
    """Of the task's test examples; None where they were not scored."""

    @property
    def verdict(self) -> Verdict:
        """Whether it stands for the adapter: by the score where that tells, else by its outputs."""
        if self.score is not None and self.score.verdict != "undecided":
            return "differs" if self.score.verdict == "worse" else "equivalent"
        if self.output_error is None:
            return "unchecked"
        return "equivalent" if self.output_error <= self.tolerance else "differs"

    def document(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "schema": "peftscope.convert/1",
            "folder": str(self.folder),
            "method": self.method,
            "max_lora_rank": self.rank,
            "layout": self.layout,
            "output_error": self.output_error,
            "tolerance": self.tolerance,
            **self.figures,
            "base": dict(self.base_figures),
            "score": None if self.score is None else _finite(asdict(self.score)),
            "verdict": self.verdict,
            "layers": [asdict(layer) for layer in self.layers],
        }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Without an interval that has no end, as that of one example."""
    low, high = values["interval"]
    return {**values, "interval": [low, high] if math.isfinite(low) and math.isfinite(high) else None}


def convert_adapter(adapter: Adapter, output: Path, wish: Wish, checks: Checks) -> Conversion:
    """Convert into a plain LoRA, write, load again and compare.

    The base is in memory once at a time: with the adapter first, then as it was with the LoRA.

    Args:
        adapter: What to convert.
        output: Folder that is made; nothing may be there.
        wish: How large or how near.
        checks: What it is fitted to, compared on and scored by.

    Raises:
        MethodRefused: A plain LoRA cannot hold what the adapter changes.
        ModelError: The base is not the one the adapter was trained on, or is quantized; or the layout is not for it.
        StoreError: The adapter is damaged, the output is there already or cannot be written.
        SpecError: An error of outputs is wished for, and such a model has no inputs to measure it on.
    """
    with new_folder(output) as folder:
        checks.told("load")
        loaded = _base(adapter)
        require_layout(wish.layout, adapter.kind.part(loaded.processor))
        fit, check = checks.calibration(loaded), checks.verification(loaded)
        if wish.max_error is not None and fit is None:
            raise SpecError("convert", ["max_error needs inputs to measure on, and such a model has none"])
        with kept_originals(loaded.model, adapter.card) as originals:
            adapted = checkpoint.load(loaded.model, adapter.folder, adapter.card)
            checks.told("outputs")
            wanted = _Wanted.of(adapted, None if wish.max_error is None else fit, check)
            checks.told("factors")
            most = wish.rank or MOST_RANK
            layers = convert_layers(adapted, adapter.card, originals, most=most, calibration=fit, told=checks.told)
        del adapted, loaded
        layers = [layer for layer in layers if layer.rank]
        if not layers:
            raise ModelError(f"{adapter.folder}: the adapter changes nothing; there is nothing to convert")
        checks.told("compare")
        delivery = _Delivery(adapter, wish, checks, layers, wanted, fit, check)
        found = delivery.to(folder, output, _base(adapter))
        _note(found, folder, checks)
        return found


def merge_adapter(adapter: Adapter, output: Path, wish: Wish, checks: Checks) -> Conversion:
    """Merge into the base, write the whole model, load it again and compare.

    Args:
        adapter: What to merge; also a model that was trained whole.
        output: Folder that is made; nothing may be there.
        wish: Its tolerance alone counts.
        checks: What the result is compared on and scored by.

    Raises:
        MethodRefused: The method does not merge.
        ModelError: The base is not the one the adapter was trained on, is quantized, or of a kind that is not written.
        StoreError: The adapter is damaged, the output is there already or cannot be written.
    """
    if not adapter.card.merges:
        raise MethodRefused(
            f"{adapter.card.name} cannot be merged: what it adds depends on the input, or is put before it"
        )
    if type(adapter.kind).write is ModelKind.write:
        raise ModelError(f"models of the kind {adapter.kind.name} are not written; convert to a LoRA")
    with new_folder(output) as folder:
        checks.told("load")
        loaded = _base(adapter)
        check = checks.verification(loaded)
        before = () if check is None else outputs_of(loaded.model, check)
        adapted = checkpoint.load(loaded.model, adapter.folder, adapter.card)
        wanted = () if check is None else outputs_of(adapted, check)
        checks.told("merge")
        merged: Any = adapted
        if adapter.card.peft_type is not None:
            with merging(adapter.card.name):
                merged = merged.merge_and_unload()
        adapter.kind.write(replace(loaded, model=merged), adapter.base, folder)
        del adapted, merged, loaded
        checks.told("compare")
        effect = None if check is None else distance_of(before, wanted, check)
        written = adapter.kind.load(adapter.base.model_copy(update={"source": str(folder), "revision": None}))
        away = None if check is None else distance(written.model, wanted, check)
        score = None if checks.scorer is None else checks.scorer(written.model, written)
        found = replace(_measured(adapter, wish, output, effect, away), layout="merged", score=score)
        _note(found, folder, checks)
        return found


def _measured(adapter: Adapter, wish: Wish, output: Path, effect: Distance | None, away: Distance | None) -> Conversion:
    """What was found of a result as a whole."""
    return Conversion(
        folder=output,
        method=adapter.card.name,
        rank=None,
        output_error=None if effect is None or away is None or not effect.squared else away.share_of(effect),
        figures={} if away is None else away.figures,
        base_figures={} if effect is None else effect.figures,
        tolerance=max(wish.tolerance, wish.max_error or 0.0),
    )


def _note(found: Conversion, folder: Path, checks: Checks) -> None:
    """Leave what was measured beside what was written."""
    document = {**found.document(), "folder": found.folder.name}
    write_text(folder / "conversion.json", json.dumps(document, indent=2) + "\n")
    text = checks.described(found)
    if text is not None:
        write_text(folder / "README.md", text)


def _base(adapter: Adapter) -> LoadedModel:
    loaded = adapter.kind.load(adapter.base)
    if loaded.quantization is not None:
        raise ModelError(
            f"the base is quantized ({loaded.quantization}): a change of rounded weights is not the adapter's. Name "
            "the base in full precision (model); the LoRA serves on either"
        )
    if adapter.weights_sha256 is not None and loaded.weights_sha256 != adapter.weights_sha256:
        raise ModelError(
            f"{adapter.base.source!r} is not the base the adapter was trained on: its weights have the hash "
            f"{loaded.weights_sha256[:12]}, the run's record says {adapter.weights_sha256[:12]}"
        )
    return loaded


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """Outputs with the original adapter."""

    fit: Sequence[Tensor] = ()
    check: Sequence[Tensor] = ()

    @classmethod
    def of(cls, adapted: nn.Module, fit: Inputs | None, check: Inputs | None) -> _Wanted:
        return cls(
            fit=() if fit is None else outputs_of(adapted, fit),
            check=() if check is None else outputs_of(adapted, check),
        )


@dataclass
class _Delivery:
    """Finds the rank, writes the LoRA and compares what was written."""

    adapter: Adapter
    wish: Wish
    checks: Checks
    layers: list[ConvertedLayer]
    wanted: _Wanted
    fit: Inputs | None
    check: Inputs | None

    def to(self, folder: Path, output: Path, fresh: LoadedModel) -> Conversion:
        """Write into a folder that is going to be ``output``."""
        base = fresh.model
        effect = None if self.check is None else distance(base, self.wanted.check, self.check)
        rank = self._rank(base)
        layers = tuple(layer.cut(rank) for layer in self.layers)
        plain = self._attached(base, rank)
        checkpoint.save_adapter(plain, folder, base=self.adapter.base_name, revision=self.adapter.revision)
        reloaded = checkpoint.load(plain.unload(), folder, card_of(PLAIN))
        away = None if self.check is None else distance(reloaded, self.wanted.check, self.check)
        score = None if self.checks.scorer is None else self.checks.scorer(reloaded, fresh)
        lay_out(folder, self.wish.layout, self.adapter.kind.part(fresh.processor))
        found = _measured(self.adapter, self.wish, output, effect, away)
        losses = tuple(_loss_of(layer) for layer in layers)
        return replace(found, rank=rank, layers=losses, layout=self.wish.layout, score=score)

    def _rank(self, base: nn.Module) -> int:
        """The one wished for, or the least that comes near enough."""
        most = max(layer.rank for layer in self.layers)
        if self.wish.rank is not None:
            return min(self.wish.rank, most)
        if self.wish.energy is not None:
            enough = uniform_rank(self.layers, self.wish.energy)
            if enough is None:
                raise ModelError(f"no rank up to {most} holds {self.wish.energy:g} of the changes; ask for less")
            return enough
        assert self.fit is not None
        assert self.wish.max_error is not None
        effect = distance(base, self.wanted.fit, self.fit)
        plain = self._attached(base, most)
        least = distance(plain, self.wanted.fit, self.fit).share_of(effect)
        if least > self.wish.max_error:
            raise ModelError(
                f"no rank up to {most} comes within {self.wish.max_error:g}: the largest misses {least:.3g} of what "
                "the adapter does"
            )
        low, high = 1, most
        while low < high:
            middle = (low + high) // 2
            with cut_plain_lora(plain, middle):
                near = distance(plain, self.wanted.fit, self.fit).share_of(effect) <= self.wish.max_error
            low, high = (low, middle) if near else (middle + 1, high)
        plain.unload()
        return low

    def _attached(self, base: nn.Module, rank: int) -> Any:
        return attach_plain_lora(
            base,
            lora_weights([layer.cut(rank) for layer in self.layers]),
            rank=rank,
            task_type=self.adapter.kind.task_type,
        )


def _loss_of(layer: ConvertedLayer) -> LayerLoss:
    return LayerLoss(
        name=layer.name,
        rank=layer.rank,
        change_norm=layer.change_norm,
        error=layer.error,
        error_of="outputs" if layer.weighted else "weights",
    )
