"""A trained adapter -> a folder with a plain LoRA, reloaded onto the original base and compared before it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from peftscope.convert.conversion import Converted, ConvertedLayer, convert_layers, lora_weights
from peftscope.convert.fidelity import answers_of, distance, outputs_of, same_answers
from peftscope.convert.inputs import Inputs
from peftscope.convert.layouts import Home
from peftscope.convert.ranks import Cut, even, held_share, least_size, output_weights, shared_out
from peftscope.convert.refine import Refined, refine
from peftscope.convert.result import Adapter, Checks, Conversion, LayerLoss, Wish, load_base, measured, note
from peftscope.convert.strength import adapted_base
from peftscope.errors import MethodRefused, ModelError, PeftscopeError, SpecError
from peftscope.methods import checkpoint
from peftscope.methods.capabilities import require_mergeable
from peftscope.methods.catalog import card as card_of
from peftscope.methods.plain_lora import PLAIN, attach_plain_lora
from peftscope.models.kinds.base import LoadedModel
from peftscope.store.files import new_folder

__all__ = ["convert_adapter"]


def convert_adapter(adapter: Adapter, output: Path, wish: Wish, checks: Checks) -> Conversion:
    """Convert into a plain LoRA, write, load again and compare.

    The base is in memory once at a time: with the adapter first, then as it was with the LoRA.

    Args:
        adapter: What to convert.
        output: Folder that is made; nothing may be there.
        wish: How large or how near.
        checks: What it is fitted to, compared on and scored by.

    Raises:
        MethodRefused: A plain LoRA cannot hold what the adapter changes, or what is to load it cannot.
        ModelError: The base is not the one the adapter was trained on, or is quantized; or the layout is not for it.
        StoreError: The adapter is damaged, the output is there already or cannot be written.
        SpecError: What is wished for needs inputs, and such a model has none.
    """
    require_mergeable(adapter.card.name, "converted")
    with new_folder(output) as folder:
        checks.told("load")
        loaded = load_base(adapter)
        home = Home.of(wish.layout, adapter.kind, loaded)
        fit, check = checks.calibration(loaded), checks.verification(loaded)
        if fit is None and wish.follows_outputs:
            what = "max_error" if wish.max_error is not None else "refine"
            raise SpecError("convert", [f"{what} needs inputs to measure on, and such a model has none"])
        with adapted_base(adapter, loaded, wish.strength) as adapted:
            del loaded
            checks.told("outputs")
            wanted = _Wanted(
                fit=outputs_of(adapted.model, fit) if fit is not None and wish.follows_outputs else (),
                check=() if check is None else outputs_of(adapted.model, check),
                answers=answers_of(adapted.loaded, adapted.model, check),
            )
            if checks.scorer is not None:
                checks.scorer.before(adapted.model, adapted.loaded)
            checks.told("factors")
            converted = convert_layers(
                adapted.model,
                adapted.card,
                adapted.originals,
                most=wish.most_rank,
                calibration=fit,
                told=checks.told,
            )
        del adapted
        converted = replace(converted, layers=[layer for layer in converted.layers if layer.rank])
        if not converted.layers:
            raise _nothing_to_hold(adapter, converted)
        checks.told("compare")
        delivery = _Delivery(adapter, home, wish, checks, converted, wanted, fit, check)
        found = delivery.to(folder, output, load_base(adapter))
        note(found, folder, checks)
        return found


def _nothing_to_hold(adapter: Adapter, converted: Converted) -> PeftscopeError:
    if not converted.wholes:
        return ModelError(f"{adapter.folder}: the adapter changes nothing; there is nothing to convert")
    return MethodRefused(
        f"{adapter.card.name} cannot be converted: it changes {converted.wholes[0].name} and its like alone, for which "
        "LoRA has no factors; take the format merged"
    )


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What the original adapter makes of the inputs."""

    fit: Sequence[Tensor]
    check: Sequence[Tensor]
    answers: Sequence[str]


@dataclass
class _Delivery:
    """Finds the ranks, writes the LoRA and compares what was written."""

    adapter: Adapter
    home: Home
    wish: Wish
    checks: Checks
    converted: Converted
    wanted: _Wanted
    fit: Inputs | None
    check: Inputs | None

    def to(self, folder: Path, output: Path, fresh: LoadedModel) -> Conversion:
        """Write into a folder that is going to be ``output``."""
        base: Any = fresh.model
        check = self.check
        effect = None if check is None else distance(base, self.wanted.check, check)
        base_answers = answers_of(fresh, base, check)
        layers = self._sized(base)
        rank = max(layer.rank for layer in layers)
        self.home.require(layers, self.converted.wholes, rank=rank)
        plain = self._attached(base, layers)
        refined = self._refined(plain)
        checkpoint.save_adapter(plain, folder, base=self.adapter.base_name, revision=self.adapter.revision)
        base = plain.unload()
        del plain
        if self.converted.wholes:  # which it leaves in the base
            del base, fresh
            fresh = load_base(self.adapter)
            base = fresh.model
        reloaded = checkpoint.load(base, folder, card_of(PLAIN))
        away = None if check is None else distance(reloaded, self.wanted.check, check)
        answers = answers_of(fresh, reloaded, check)
        score = None if self.checks.scorer is None else self.checks.scorer.change(reloaded, fresh)
        self.home.lay_out(folder)
        found = measured(self.adapter, self.wish, output, effect, away)
        cut = {layer.name: layer for layer in layers}
        return replace(
            found,
            rank=rank,
            layers=tuple(_loss_of(layer, cut.get(layer.name)) for layer in self.converted.layers),
            wholes=tuple(of.name for of in self.converted.wholes),
            figures={**found.figures, **same_answers(self.wanted.answers, answers)},
            base_figures={**found.base_figures, **same_answers(self.wanted.answers, base_answers)},
            shared=self.wish.shared,
            refined=refined,
            layout=self.wish.layout,
            score=score,
        )

    def _sized(self, base: nn.Module) -> list[ConvertedLayer]:
        """Cut to the size wished for, or to the least that comes near enough."""
        layers, wish = self.converted.layers, self.wish
        weights = output_weights(base, layers, self.fit) if wish.shared else {}

        def cut(size: int) -> list[ConvertedLayer]:
            return shared_out(layers, size, weights) if wish.shared else even(layers, size)

        most = max(layer.rank for layer in layers)
        if wish.rank is not None:
            return cut(wish.rank)
        if wish.energy is not None:
            share = wish.energy - 1e-9
            size = least_size(most, lambda size: held_share(cut(size), layers) >= share)
            if size is None:
                raise ModelError(f"no rank up to {most} holds {wish.energy:g} of the changes; ask for less")
            return cut(size)
        return cut(self._near_enough(base, cut, most))

    def _near_enough(self, base: nn.Module, cut: Cut, most: int) -> int:
        """The least size whose outputs miss no more than is wished for."""
        fit, most_error = self.fit, self.wish.max_error
        assert fit is not None
        assert most_error is not None
        effect = distance(base, self.wanted.fit, fit)
        errors: list[float] = []

        def is_near(size: int) -> bool:
            plain = self._attached(base, cut(size))
            errors.append(distance(plain, self.wanted.fit, fit).share_of(effect))
            plain.unload()
            return errors[-1] <= most_error

        size = least_size(most, is_near)
        if size is None:
            raise ModelError(
                f"no rank up to {most} comes within {most_error:g}: the largest misses {errors[0]:.3g} of what the "
                "adapter does"
            )
        return size

    def _attached(self, base: nn.Module, layers: Sequence[ConvertedLayer]) -> Any:
        return attach_plain_lora(
            base,
            lora_weights(layers),
            task_type=self.adapter.kind.task_type,
            wholes={of.name: of.value for of in self.converted.wholes},
            is_even=not (self.wish.shared and self.home.takes_shared_ranks),
        )

    def _refined(self, plain: Any) -> Refined | None:
        if not self.wish.refine:
            return None
        assert self.fit is not None
        self.checks.told("refine")
        return refine(plain, self.fit, self.wanted.fit, steps=self.wish.refine)


def _loss_of(layer: ConvertedLayer, cut: ConvertedLayer | None) -> LayerLoss:
    """What a layer lost by being cut; all of it, where it was given no rank."""
    return LayerLoss(
        name=layer.name,
        rank=0 if cut is None else cut.rank,
        change_norm=layer.change_norm,
        error=1.0 if cut is None else cut.error,
        error_of="outputs" if layer.weighted else "weights",
    )
