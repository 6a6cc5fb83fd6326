"""Pictures and prompts as a pipeline and an encoder see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from peftscope.errors import DataError
from peftscope.models.kinds.text_to_image.pipeline import ImagePipeline, Prompts
from peftscope.tasks.images.encoders import encoder, two_towers
from peftscope.tasks.images.options import ConceptOptions
from peftscope.tasks.images.prepared import Encodings, Pictures
from peftscope.tasks.images.sources import class_prompts, drift_prompts, read_pictures

__all__ = ["encoded", "stacked", "wanted_prompts"]


def stacked(options: ConceptOptions) -> Pictures:
    """All pictures in one tensor.

    Raises:
        DataError: Pictures cannot be read, are too few, or have no prompts.
    """
    read = read_pictures(options)
    together = [picture for pictures in read.values() for picture in pictures]
    row_of = {picture.picture_id: row for row, picture in enumerate(together)}
    return Pictures(
        picture_ids=tuple(picture.picture_id for picture in together),
        prompts=tuple(picture.prompt for picture in together),
        pixels=torch.from_numpy(np.stack([np.asarray(picture.picture) for picture in together])),
        splits={split: tuple(row_of[each.picture_id] for each in pictures) for split, pictures in read.items()},
    )


def wanted_prompts(options: ConceptOptions, pictures: Pictures) -> tuple[str, ...]:
    """Every prompt that is trained on or drawn, once; the empty one first."""
    asked = ["", *pictures.prompts, *options.test_prompts, *drift_prompts(options), *class_prompts(options)]
    return tuple(dict.fromkeys([*asked, *(options.sample_prompts or ())]))


def encoded(options: ConceptOptions, pipeline: ImagePipeline, pictures: Pictures) -> Encodings:
    """Latents, features and what the text encoder says.

    Raises:
        DataError: Two prompts that differ are the same to the text encoder; the encoder cannot be loaded or used.
        ModelError: The pipeline cannot do it with these options.
    """
    if options.prompt_encoder is not None:
        two_towers(options.prompt_encoder)  # one that cannot be loaded is named before anything is trained
    prompts = wanted_prompts(options, pictures)
    states = pipeline.attempt(
        "encoding the prompts",
        lambda: pipeline.encode_prompts(prompts, max_tokens=options.max_tokens, layers=options.text_layers),
    )
    _require_apart(prompts, states)
    latents = pipeline.encode_pictures(pictures.pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0)
    if not bool(torch.isfinite(latents).all()):
        raise DataError(f"the autoencoder's latents are no numbers in {latents.dtype}; set model.dtype: float32")
    return Encodings(
        latents=latents,
        features=_features(options, pictures.pixels),
        prompts=prompts,
        states=states,
        cut=tuple(pipeline.cut_prompts(prompts, max_tokens=options.max_tokens)),
    )


def _features(options: ConceptOptions, pixels: Tensor) -> Tensor:
    try:
        return encoder(options.encoder, options.encoder_size)(pixels)
    except (RuntimeError, ValueError) as error:
        raise DataError(
            f"task.encoder: {options.encoder!r} cannot see pictures of {options.encoder_size} px: {error}"
        ) from error


def _require_apart(prompts: Sequence[str], states: Prompts) -> None:
    seen: dict[bytes, str] = {}
    for row, prompt in enumerate(prompts):
        key = b"".join(value[row].float().numpy().tobytes() for value in states.values())
        other = seen.setdefault(key, prompt)
        if other != prompt:
            raise DataError(f"prompts {other!r} and {prompt!r} are the same to the text encoder: it reads no further")
