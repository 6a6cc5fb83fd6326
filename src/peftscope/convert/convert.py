"""A trained adapter -> a folder with a plain LoRA, reloaded onto the original base and compared before it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from peftscope.convert.changes import kept_originals
from peftscope.convert.conversion import ConvertedLayer, convert_layers, lora_weights, uniform_rank
from peftscope.convert.fidelity import Distance, distance, outputs_of
from peftscope.errors import MethodRefused, ModelError, SpecError
from peftscope.methods import checkpoint
from peftscope.methods.card import Card
from peftscope.methods.catalog import card as card_of
from peftscope.methods.plain_lora import PLAIN, attach_plain_lora, cut_plain_lora
from peftscope.models.kinds.base import LoadedModel, ModelKind
from peftscope.models.kinds.likeness import Likeness
from peftscope.schema.study import ModelSpec
from peftscope.store.files import new_folder, write_text

__all__ = ["Adapter", "Conversion", "Wish", "convert_adapter", "merge_adapter"]

MOST_RANK = 256
"""Where no rank is given, none beyond it is tried: the largest that common servers load."""
MOST_INPUTS = 2048
"""Positions on which models are compared; as many others calibrate."""


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
    tolerance: float = 0.1
    """Output error up to which the LoRA is said to stand for the adapter."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What came out."""

    folder: Path
    method: str
    rank: int | None
    """Of the LoRA; None where the adapter was merged into the base."""
    layers: tuple[ConvertedLayer, ...] = ()
    output_error: float | None
    """Of outputs on inputs that nothing was fitted to, as a share of the adapter's effect; None where the kind of
    model has no such inputs."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Other distances from the adapter's outputs, as the kind has them …"""
    base_figures: Mapping[str, float] = field(default_factory=dict)
    """… and those of the base alone, to compare with."""
    is_calibrated: bool
    tolerance: float

    @property
    def stands(self) -> bool:
        """Whether the LoRA stands for the adapter."""
        return self.output_error is not None and self.output_error <= self.tolerance

    def document(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "schema": "peftscope.convert/1",
            "folder": str(self.folder),
            "method": self.method,
            "max_lora_rank": self.rank,
            "calibrated": self.is_calibrated,
            "output_error": self.output_error,
            "tolerance": self.tolerance,
            **self.figures,
            "base": dict(self.base_figures),
            "verdict": "equivalent" if self.stands else "unchecked" if self.output_error is None else "differs",
            "layers": [
                {
                    "name": layer.name,
                    "rank": layer.rank,
                    "change_norm": layer.change_norm,
                    "error": layer.error,
                    "error_of": "outputs" if layer.weighted else "weights",
                }
                for layer in self.layers
            ],
        }


def convert_adapter(
    adapter: Adapter,
    output: Path,
    wish: Wish,
    *,
    calibration: Any = None,
    verification: Any = None,
    told: Callable[[str], None] = lambda line: None,
) -> Conversion:
    """Convert, write, load again and compare.

    The base is in memory once at a time: with the adapter first, then as it was with the LoRA.

    Args:
        adapter: What to convert.
        output: Folder that is made; nothing may be there.
        wish: How large or how near.
        calibration: What inputs are made of on which errors of outputs count; None counts errors of weights.
        verification: What other inputs are made of, on which the result is compared; None compares weights alone.
        told: Called with a line for each stage.

    Raises:
        MethodRefused: A plain LoRA cannot hold what the adapter changes.
        ModelError: The base is not the one the adapter was trained on, or is quantized.
        StoreError: The adapter is damaged, the output is there already or cannot be written.
        SpecError: Something is wished for that needs calibration, which there is none of.
    """
    if wish.max_error is not None and calibration is None:
        raise SpecError("convert", ["--max-error needs inputs to measure on: give --calibration"])
    with new_folder(output) as folder:
        told("load")
        loaded = _base(adapter)
        fit, check = (_likeness(adapter.kind, loaded, of) for of in (calibration, verification))
        with kept_originals(loaded.model, adapter.card) as originals:
            adapted = checkpoint.load(loaded.model, adapter.folder, adapter.card)
            told("outputs")
            wanted = _Wanted.of(adapted, fit, check)
            told("factors")
            layers = convert_layers(
                adapted, adapter.card, originals, most=wish.rank or MOST_RANK, calibration=fit, told=told
            )
        del adapted, loaded
        if not layers:
            raise ModelError(f"{adapter.folder}: the adapter changes nothing; there is nothing to convert")
        told("compare")
        fresh = _base(adapter).model
        return _Delivery(adapter, wish, layers, wanted, fit, check).to(folder, output, fresh)


def merge_adapter(
    adapter: Adapter,
    output: Path,
    *,
    verification: Any = None,
    tolerance: float = Wish.tolerance,
    told: Callable[[str], None] = lambda line: None,
) -> Conversion:
    """Merge into the base, write the whole model, load it again and compare.

    Args:
        adapter: What to merge; also a model that was trained whole.
        output: Folder that is made; nothing may be there.
        verification: What inputs are made of, on which the result is compared; None compares nothing.
        tolerance: Output error up to which the model is said to stand for the adapter.
        told: Called with a line for each stage.

    Raises:
        MethodRefused: The method does not merge.
        ModelError: The base is not the one the adapter was trained on, is quantized, or of a kind that is not written.
        StoreError: The adapter is damaged, the output is there already or cannot be written.
    """
    if not adapter.card.merges:
        raise MethodRefused(
            f"{adapter.card.name} cannot be merged: what it adds depends on the input, or is put before it"
        )
    with new_folder(output) as folder:
        told("load")
        loaded = _base(adapter)
        check = _likeness(adapter.kind, loaded, verification)
        effect = None
        adapted = checkpoint.load(loaded.model, adapter.folder, adapter.card)
        wanted = () if check is None else outputs_of(adapted, check)
        told("merge")
        merged: Any = adapted
        merged = merged.merge_and_unload() if adapter.card.peft_type is not None else merged
        try:
            adapter.kind.write(replace(loaded, model=merged), adapter.base, folder)
        except NotImplementedError as error:
            raise ModelError(
                f"models of the kind {adapter.kind.name} are not written whole; convert to a LoRA"
            ) from error
        del adapted, merged, loaded
        told("compare")
        away = None
        if check is not None:
            effect = distance(_base(adapter).model, wanted, check)
            written = adapter.kind.load(adapter.base.model_copy(update={"source": str(folder), "revision": None}))
            away = distance(written.model, wanted, check)
        return Conversion(
            folder=output,
            method=adapter.card.name,
            rank=None,
            output_error=None if effect is None or away is None else away.share_of(effect),
            figures={} if away is None else away.figures,
            base_figures={} if effect is None else effect.figures,
            is_calibrated=False,
            tolerance=tolerance,
        )


def _base(adapter: Adapter) -> LoadedModel:
    loaded = adapter.kind.load(adapter.base)
    if loaded.quantization is not None:
        raise ModelError(
            f"the base is quantized ({loaded.quantization}): a change of rounded weights is not the adapter's; "
            "convert on the base in full precision, the LoRA serves on either"
        )
    if adapter.weights_sha256 is not None and loaded.weights_sha256 != adapter.weights_sha256:
        raise ModelError(
            f"{adapter.base.source!r} is not the base the adapter was trained on: its weights have the hash "
            f"{loaded.weights_sha256[:12]}, the run's record says {adapter.weights_sha256[:12]}"
        )
    return loaded


def _likeness(kind: ModelKind, loaded: LoadedModel, material: Any) -> Likeness | None:
    return None if material is None else kind.likeness(loaded, material, most=MOST_INPUTS)


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """Outputs with the original adapter."""

    fit: Sequence[Tensor] = ()
    check: Sequence[Tensor] = ()

    @classmethod
    def of(cls, adapted: nn.Module, fit: Likeness | None, check: Likeness | None) -> _Wanted:
        return cls(
            fit=() if fit is None else outputs_of(adapted, fit),
            check=() if check is None else outputs_of(adapted, check),
        )


@dataclass
class _Delivery:
    """Finds the rank, writes the LoRA and compares what was written."""

    adapter: Adapter
    wish: Wish
    layers: list[ConvertedLayer]
    wanted: _Wanted
    fit: Likeness | None
    check: Likeness | None

    def to(self, folder: Path, output: Path, base: nn.Module) -> Conversion:
        effect = None if self.check is None else distance(base, self.wanted.check, self.check)
        rank = self._rank(base)
        self.layers = [layer.cut(rank) for layer in self.layers]
        plain = self._attached(base, rank)
        checkpoint.save_adapter(plain, folder, base=self.adapter.base_name, revision=self.adapter.revision)
        base = plain.unload()
        reloaded = checkpoint.load(base, folder, card_of(PLAIN))
        away = None if self.check is None else distance(reloaded, self.wanted.check, self.check)
        found = self._found(output, rank, effect, away)
        write_text(folder / "conversion.json", json.dumps(found.document(), indent=2) + "\n")
        return found

    def _found(self, output: Path, rank: int, effect: Distance | None, away: Distance | None) -> Conversion:
        return Conversion(
            folder=output,
            method=self.adapter.card.name,
            rank=rank,
            layers=tuple(self.layers),
            output_error=None if effect is None or away is None else away.share_of(effect),
            figures={} if away is None else away.figures,
            base_figures={} if effect is None else effect.figures,
            is_calibrated=self.fit is not None,
            tolerance=self.wish.tolerance,
        )

    def _rank(self, base: nn.Module) -> int:
        """The one wished for, or the least that comes near enough."""
        most = max(layer.rank for layer in self.layers)
        if self.wish.rank is not None:
            return min(self.wish.rank, most)
        if self.wish.energy is not None:
            return uniform_rank(self.layers, self.wish.energy)
        assert self.fit is not None
        assert self.wish.max_error is not None
        effect = distance(base, self.wanted.fit, self.fit)
        plain = self._attached(base, most)
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
