"""Image models without weights: configs of transformer and autoencoder, and both on the ``meta`` device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from peftscope.errors import MissingExtra, ModelError, unknown_name
from peftscope.models.builtin import PREFIX, find_builtin
from peftscope.models.config_sizes import refuse_absurd
from peftscope.models.source import find_configs, read_settings

__all__ = ["TransformerConfig", "empty_autoencoder", "empty_transformer", "is_image_model", "read_transformer_config"]

KNOWN = ("Flux2Transformer2DModel",)
"""Classes of diffusers whose inputs we know."""
AUTOENCODER = "AutoencoderKLFlux2"
"""That of pipelines with these."""
OWN_CHANNELS = 128
"""Of a token that FLUX.2's own autoencoder makes pictures of; its settings are diffusers' defaults."""
WITHOUT_SIZES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "UNet2DConditionModel")
"""Models that are trained here, and whose sizes are not predicted."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """What a diffusion transformer is built from."""

    class_name: str
    """Its class in diffusers."""
    settings: dict[str, Any]
    pixels_per_token: int = 16
    """On a side: the autoencoder makes 8 × 8 pixels one, and patches of 2 × 2 of those become a token."""
    prompt_tokens: int = 512
    """Prompts are padded to it."""
    autoencoder: dict[str, Any] | None = None
    """Settings of the pipeline's autoencoder; None where they are not known."""

    @property
    def latent_channels(self) -> int:
        """Of what the autoencoder makes pictures of: a token is 2 × 2 of them."""
        return int(self.settings["in_channels"]) // 4


def read_transformer_config(source: str, revision: str | None = None) -> TransformerConfig | None:
    """The config of an image model's transformer; None where the source is no image model, or one of
    those whose sizes are not predicted. No weights are read.

    Args:
        source: A hub id, the folder of a pipeline or of its transformer, or the path of a ``config.json``.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ModelError: There is nothing, the hub cannot be reached, or it is an image model we do not know.
        StoreError: The hub's cache cannot be written.
    """
    place = _place(source, revision)
    settings = {} if place is None else _settings(place)
    if place is None or "_class_name" not in settings:
        return None
    name = str(settings["_class_name"])
    if name in WITHOUT_SIZES:
        return None
    if name not in KNOWN:
        raise ModelError(f"model.source: {source!r}: {unknown_name('image transformer', name, KNOWN)}")
    own = {key: value for key, value in settings.items() if not key.startswith("_")}
    found = TransformerConfig(class_name=name, settings=own, **_of_other_parts(place))
    if found.autoencoder is None and own.get("in_channels") == OWN_CHANNELS:
        return replace(found, autoencoder={})
    return found


def empty_transformer(config: TransformerConfig, *, dtype: torch.dtype) -> nn.Module:
    """The transformer a config describes, on the ``meta`` device, in ``eval`` mode.

    Raises:
        ModelError: diffusers cannot build it, or its sizes are those of no model.
        MissingExtra: diffusers is not installed.
    """
    return _empty(config.class_name, config.settings, dtype)


def empty_autoencoder(settings: dict[str, Any], *, dtype: torch.dtype) -> nn.Module:
    """The autoencoder of a config, on the ``meta`` device, in ``eval`` mode; it decodes pictures one by one.

    Raises:
        ModelError: diffusers cannot build it, or its sizes are those of no model.
        MissingExtra: diffusers is not installed.
    """
    model: Any = _empty(AUTOENCODER, settings, dtype)
    model.enable_slicing()
    return cast("nn.Module", model)


def _empty(class_name: str, settings: dict[str, Any], dtype: torch.dtype) -> nn.Module:
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtra("diffusers", "images", "an image model") from error
    refuse_absurd(class_name, settings)
    try:
        with torch.device("meta"):
            model = getattr(diffusers, class_name)(**settings)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError, AttributeError) as error:
        raise ModelError(f"no {class_name} can be built from this config: {error}") from error
    assert isinstance(model, nn.Module)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model.eval()


def _of_other_parts(place: Path) -> dict[str, Any]:
    """What of a pipeline's other parts decides sizes, as far as their configs lie beside the transformer."""
    found: dict[str, Any] = {}
    autoencoder = read_settings(place / "vae" / "config.json")
    if autoencoder.get("_class_name") == AUTOENCODER:
        found["autoencoder"] = {key: value for key, value in autoencoder.items() if not key.startswith("_")}
    blocks = autoencoder.get("block_out_channels")
    if isinstance(blocks, list) and blocks:
        found["pixels_per_token"] = 2 ** len(blocks)
    tokens = read_settings(place / "tokenizer" / "tokenizer_config.json").get("model_max_length")
    if isinstance(tokens, int):
        found["prompt_tokens"] = min(tokens, TransformerConfig.prompt_tokens)
    return found


def is_image_model(source: str, revision: str | None = None) -> bool:
    """Whether a source is an image model, as far as its configs tell; also one whose sizes are not predicted.

    Raises:
        ModelError: There is nothing, or the hub cannot be reached.
        StoreError: The hub's cache cannot be written.
    """
    place = _place(source, revision)
    return place is not None and "_class_name" in _settings(place)


def _place(source: str, revision: str | None) -> Path | None:
    """Where the configs of a source lie; None for a built-in model that draws nothing."""
    if source.startswith(PREFIX):
        builtin = find_builtin(source)
        return builtin.fetch() if builtin.draws else None
    return find_configs(source, revision)


def _settings(place: Path) -> dict[str, Any]:
    """Of the transformer in a folder, of a file, or of the pipeline that has no transformer we could read."""
    if place.is_dir():
        inside = ("transformer/config.json", "config.json", "model_index.json")
        place = next((file for name in inside if (file := place / name).is_file()), place)
    return read_settings(place) if place.suffix.lower() == ".json" else {}  # read_config says what is wrong with it
