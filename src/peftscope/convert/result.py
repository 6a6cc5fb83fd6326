"""What is converted, what is wished for and checked, and what came out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import nn

from peftscope.analysis.score_change import ScoreChange
from peftscope.convert.fidelity import Distance
from peftscope.convert.inputs import Inputs
from peftscope.convert.layouts import Layout
from peftscope.convert.refine import Refined
from peftscope.errors import ModelError
from peftscope.methods.card import Card
from peftscope.models.kinds.base import LoadedModel, ModelKind
from peftscope.schema.study import ModelSpec
from peftscope.store.files import write_text

__all__ = ["TOLERANCE", "Adapter", "Checks", "Conversion", "LayerLoss", "Wish", "load_base", "measured", "note"]

TOLERANCE = 0.1
"""Error of outputs, as a share of what the adapter does, up to which a result stands for it."""
MOST_RANK = 256
"""Where no rank is given, none beyond it is tried: the largest that common servers load."""
SHARED_UP_TO = 4
"""A rank that is shared out gives a weight up to so many times as much."""

Verdict = Literal["equivalent", "undecided", "differs", "unchecked"]


class Scorer(Protocol):
    """Scores models on their base's device."""

    def before(self, model: nn.Module, loaded: LoadedModel) -> None:
        """Score the original, where that is not known yet."""

    def change(self, model: nn.Module, loaded: LoadedModel) -> ScoreChange:
        """Score a converted model, and set that against the original."""


InputsOf = Callable[[LoadedModel], Inputs | None]
"""Makes inputs for a base."""


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
    """Share of a change's energy that is to be held, in the mean over weights, by the least rank."""
    max_error: float | None = None
    """Of the outputs, as a share of what the adapter does to them, by the least rank."""
    shared: bool = False
    """Whether weights get ranks of their own, where they cut the error most; the size is then their mean."""
    refine: int = 0
    """Steps of distillation on the calibration inputs."""
    strength: float = 1.0
    """Share of the adapter's change that is taken, above 0."""
    layout: Layout = "peft"
    tolerance: float | None = None
    """Output error up to which the LoRA is said to stand for the adapter; what may remain, or 0.1, where None."""

    @property
    def follows_outputs(self) -> bool:
        """Whether the original's outputs on the calibration inputs are needed."""
        return self.max_error is not None or self.refine > 0

    @property
    def borne(self) -> float:
        """Output error up to which it stands for the adapter."""
        return max(TOLERANCE, self.max_error or 0.0) if self.tolerance is None else self.tolerance

    @property
    def most_rank(self) -> int:
        """Beyond which no direction is asked for."""
        if self.rank is None:
            return MOST_RANK
        return max(self.rank, min(SHARED_UP_TO * self.rank, MOST_RANK)) if self.shared else self.rank


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What a result is fitted to, compared on and scored by."""

    calibration: InputsOf = lambda loaded: None
    """Gives the inputs on which errors of outputs count; without, errors of weights do."""
    verification: InputsOf = lambda loaded: None
    """Gives other inputs, on which the result is compared; without, it is not."""
    scorer: Scorer | None = None
    """Scores the original and what was written; None leaves the score out."""
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
    wholes: tuple[str, ...] = ()
    """Parameters that are carried as they are, for want of factors: full names."""
    shared: bool = False
    """Whether the rank was shared out over weights."""
    refined: Refined | None = None
    """What a distillation brought; None where none was asked for."""
    output_error: float | None
    """Of outputs on inputs that nothing was fitted to, as a share of the adapter's effect; None where there are no such
    inputs, or the adapter does nothing to their outputs."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Other distances from the adapter's outputs, as the kind has them …"""
    base_figures: Mapping[str, float] = field(default_factory=dict)
    """… and those of the base alone, to compare with."""
    strength: float = 1.0
    """Share of the adapter's change that was taken; what is compared with is the adapter at that strength."""
    tolerance: float
    layout: Layout = "peft"
    score: ScoreChange | None = None
    """Of the task's test examples; None where they were not scored."""

    @property
    def has_own_ranks(self) -> bool:
        """Whether weights were given ranks that differ."""
        return self.shared and len({layer.rank for layer in self.layers}) > 1

    @property
    def verdict(self) -> Verdict:
        """Whether it stands for the adapter: by the score where that tells, else by its outputs.

        Outputs that are near say that it differs in nothing that was seen; with a score that is undecided that is no
        equivalence.
        """
        if self.score is not None and self.score.verdict != "undecided":
            return "differs" if self.score.verdict == "worse" else "equivalent"
        if self.output_error is None:
            return "unchecked"
        if self.output_error > self.tolerance:
            return "differs"
        return "equivalent" if self.score is None else "undecided"

    def document(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "schema": "peftscope.convert/1",
            "folder": str(self.folder),
            "method": self.method,
            "strength": self.strength,
            "max_lora_rank": self.rank,
            "layout": self.layout,
            "output_error": self.output_error,
            "tolerance": self.tolerance,
            **self.figures,
            "base": dict(self.base_figures),
            "score": None if self.score is None else _finite(asdict(self.score)),
            "verdict": self.verdict,
            "refined": None if self.refined is None else {**asdict(self.refined), "helped": self.refined.helped},
            "shared": self.shared,
            "wholes": list(self.wholes),
            "layers": [asdict(layer) for layer in self.layers],
        }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Without an interval that has no end, as that of one example."""
    low, high = values["interval"]
    return {**values, "interval": [low, high] if math.isfinite(low) and math.isfinite(high) else None}


def measured(adapter: Adapter, wish: Wish, output: Path, effect: Distance | None, away: Distance | None) -> Conversion:
    """What was found of a result as a whole."""
    return Conversion(
        folder=output,
        method=adapter.card.name,
        rank=None,
        output_error=None if effect is None or away is None or not effect.squared else away.share_of(effect),
        figures={} if away is None else away.figures,
        base_figures={} if effect is None else effect.figures,
        strength=wish.strength,
        tolerance=wish.borne,
    )


def note(found: Conversion, folder: Path, checks: Checks) -> None:
    """Leave what was measured beside what was written."""
    document = {**found.document(), "folder": found.folder.name}
    write_text(folder / "conversion.json", json.dumps(document, indent=2) + "\n")
    text = checks.described(found)
    if text is not None:
        write_text(folder / "README.md", text)


def load_base(adapter: Adapter) -> LoadedModel:
    """The original base of an adapter.

    Raises:
        ModelError: It cannot be loaded, is quantized, or is not the one the adapter was trained on.
    """
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
    loaded.model.requires_grad_(False)
    return loaded
