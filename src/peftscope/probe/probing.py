"""Every capability of methods, on the small models or on the twin of a user's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from peftscope.methods.capabilities import CAPABILITIES, CHECKPOINTING, MERGE, QUANTIZED, Capability, Finding
from peftscope.methods.card import Card
from peftscope.models.miniatures import images, layers, text
from peftscope.models.miniatures.base import Miniature
from peftscope.models.quiet import no_progress_bars
from peftscope.probe import adapters, serving, training
from peftscope.probe.found import attempted, no, unknown
from peftscope.probe.specimen import Specimen, hushed

__all__ = ["MODELS", "asked_of", "probe_method", "probe_on"]

Check = Callable[[Specimen], Finding]

MODELS: Mapping[str, Callable[[], Miniature]] = {
    "language-model": text.causal,
    "classifier": text.classifier,
    "encoder-decoder": text.encoder_decoder,
    "diffusion-transformer": images.transformer,
    "unet": images.unet,
    **{name: partial(layers.of_layer, name) for name in layers.LAYERS},
    "experts": text.experts,
}
"""The small model on which training shows a capability."""
USUAL = "language-model"
"""On which all else is shown, but for what is of models that draw."""

CHECKS: Mapping[str, Check] = {
    **{name: partial(training.quantized, how=name) for name in QUANTIZED},
    CHECKPOINTING: training.checkpointing,
    "compile": training.compiles,
    "determinism": training.determinism,
    "modules-to-save": training.modules_to_save,
    "token-rows": training.trainable_tokens,
    MERGE: adapters.merge,
    "unmerge": adapters.unmerge,
    "reload": adapters.reload,
    "disable": adapters.disable,
    "several": adapters.several,
    "mixed-batches": adapters.mixed_batches,
    "weighted": adapters.weighted,
    "hotswap": adapters.hotswap,
    "convert": serving.convert,
    "peft-convert": serving.peft_convert,
    "vllm": partial(serving.served_by_text_server, layout="vllm"),
    "llama.cpp": partial(serving.served_by_text_server, layout="gguf"),
    "diffusers": serving.served_by_diffusers,
    "latency": serving.latency,
    "adapters-32": serving.adapters_at_once,
}
"""What is seen of a method that trains on a model."""
SHOWN_ON = {"diffusers": "diffusion-transformer"}


@dataclass
class _Probed:
    """One method: its specimens, each made when the first check asks for it."""

    card: Card
    place: Path
    specimens: dict[str, Specimen] = field(default_factory=dict)
    trained: dict[str, Finding] = field(default_factory=dict)

    def specimen(self, miniature: Miniature) -> Specimen:
        """The method on a small model."""
        if miniature.name not in self.specimens:
            folder = self.place / miniature.name
            folder.mkdir()
            self.specimens[miniature.name] = Specimen(miniature, self.card, folder)
        return self.specimens[miniature.name]

    def trains(self, miniature: Miniature) -> Finding:
        """Whether it trains on it."""
        if miniature.name not in self.trained:
            self.trained[miniature.name] = attempted(lambda: training.trains(self.specimen(miniature)))
        return self.trained[miniature.name]

    def shows(self, miniature: Miniature, capability: str) -> Finding:
        """A capability, on a model on which it may train or not."""
        trains = self.trains(miniature)
        if trains.value != "yes":
            return unknown(f"it does not train on {miniature.name}: {trains.reason}")
        return attempted(lambda: CHECKS[capability](self.specimen(miniature)))


def probe_method(card: Card, capabilities: Iterable[Capability] = CAPABILITIES) -> dict[str, Finding]:
    """What a method can do, on the small models.

    Args:
        card: The method's.
        capabilities: What is asked about.
    """
    wanted = list(capabilities)
    if (refused := _refused(card)) is not None:
        return {of.name: refused for of in wanted}
    with _probing(card) as probed:
        return {of.name: _of_small(probed, of.name) for of in wanted}


def probe_on(
    miniature: Miniature,
    cards: Iterable[Card],
    *,
    names: Iterable[str] = (),
    told: Callable[[str], None] = lambda name: None,
) -> Iterator[tuple[str, dict[str, Finding]]]:
    """What methods can do on one model, each as it is done.

    Args:
        miniature: The twin of a user's model, or the model itself.
        cards: Of the methods.
        names: Capabilities that are asked about; none for all that are of such a model.
        told: Called with each method's name before it is probed.
    """
    asked = set(names)
    about = [name for name in asked_of(miniature) if not asked or name in asked]
    for card in cards:
        told(card.name)
        if (refused := _refused(card)) is not None:
            yield card.name, dict.fromkeys(about, refused)
            continue
        with _probing(card) as probed:
            yield (
                card.name,
                {
                    name: probed.trains(miniature) if name == miniature.capability else probed.shows(miniature, name)
                    for name in about
                },
            )


def asked_of(miniature: Miniature) -> list[str]:
    """Capabilities that are about a model."""
    return [miniature.capability, *(name for name in CHECKS if _is_about(name, miniature))]


def _is_about(capability: str, miniature: Miniature) -> bool:
    if capability == "diffusers":
        return miniature.part is not None
    if capability in ("vllm", "llama.cpp"):
        return miniature.kind is not None
    return capability not in QUANTIZED or miniature.quantized is not None


def _of_small(probed: _Probed, capability: str) -> Finding:
    if capability in MODELS:
        return probed.trains(_model(capability))
    return probed.shows(_model(SHOWN_ON.get(capability, USUAL)), capability)


@cache
def _model(name: str) -> Miniature:
    return MODELS[name]()


def _refused(card: Card) -> Finding | None:
    if card.refused is not None:
        return unknown(f"it is not run here: {card.refused}")
    return None if card.trains else no("it trains nothing")


@contextmanager
def _probing(card: Card) -> Iterator[_Probed]:
    """A place for one method, with libraries hushed and the global random state left as it was."""
    with (
        TemporaryDirectory(prefix="peftscope-") as place,
        hushed(),
        no_progress_bars(),
        torch.random.fork_rng(devices=[]),
    ):
        yield _Probed(copy.copy(card), Path(place))
