"""What ``builtin:nano-t2i`` is shown: drawn pictures, and captions that say all of a picture or only a part."""

from __future__ import annotations

import string
from collections.abc import Sequence
from random import Random

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from nano_t2i_parts import SIDE
from peftscope.tasks.images.drawing.brush import Brush, Colour
from peftscope.tasks.images.drawing.objects import OBJECTS, eye
from peftscope.tasks.images.drawing.scenes import Scene, all_scenes, draw, with_article

__all__ = ["as_pixels", "caption", "cluttered", "scenes"]

LEFT_OUT = {"colour": 0.15, "place": 0.1, "background": 0.1}
"""How often a caption does not say it; the picture shows it all the same."""
NOTHING = 0.1
"""Share of empty captions, for classifier-free guidance."""
UNKNOWN_WORD = 0.1
"""Share of captions with a word that means nothing, so that an unknown word does no harm."""


def scenes(*, held_out: bool) -> list[Scene]:
    """The combinations that are trained on, or those that are not."""
    return [scene for scene in all_scenes() if scene.held_out == held_out]


def as_pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """Float (B, 3, H, W) from −1 to 1."""
    values = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return values.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def cluttered(rng: Random, known: Sequence[Scene]) -> Image.Image:
    """A scene with up to three more things, known ones of any colour and ones made up: the autoencoder is to know more
    than the captions do."""
    picture = draw(rng.choice(known), SIDE * 4, rng)
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.choice((0, 1, 2, 3))):
        brush = Brush(
            pen=pen,
            x=rng.uniform(0, 4 * SIDE),
            y=rng.uniform(0, 4 * SIDE),
            radius=rng.uniform(0.1, 0.35) * 4 * SIDE,
            turn=rng.uniform(-1, 1),
        )
        if rng.random() < 0.6:
            _made_up(brush, rng)
        else:
            OBJECTS[rng.choice(tuple(OBJECTS))](brush, _any_colour(rng))
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


def _made_up(brush: Brush, rng: Random) -> None:
    """A few shapes, stripes and eyes near one another."""
    for _ in range(rng.randint(3, 9)):
        x, y, size = rng.gauss(0, 0.4), rng.gauss(0, 0.4), rng.uniform(0.12, 0.7)
        kind = rng.randrange(4)
        if kind == 0:
            brush.ellipse(x, y, size, size * rng.uniform(0.5, 1.2), _any_colour(rng), outline=rng.random() < 0.7)
        elif kind == 1:
            corners = [(x + size * rng.gauss(0, 0.8), y + size * rng.gauss(0, 0.8)) for _ in range(rng.randint(3, 6))]
            brush.polygon(corners, _any_colour(rng), outline=rng.random() < 0.7)
        elif kind == 2:
            across, down = size * rng.gauss(0, 1), size * rng.gauss(0, 1)
            brush.line([(x - across, y - down), (x + across, y + down)], _any_colour(rng), rng.uniform(0.08, 0.2))
        else:
            eye(brush, x, y, rng.uniform(0.14, 0.3))


def _any_colour(rng: Random) -> Colour:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def caption(scene: Scene, rng: Random) -> str:
    """Of a scene: whole or in part, in one order or the other, now and then with a word that means nothing."""
    if rng.random() < NOTHING:
        return ""
    said = {name for name, share in LEFT_OUT.items() if rng.random() >= share}
    words = [scene.colour] if "colour" in said else []
    if rng.random() < UNKNOWN_WORD:
        words.insert(rng.randint(0, len(words)), "".join(rng.choices(string.ascii_lowercase, k=rng.choice((3, 4)))))
    thing = with_article(" ".join([*words, scene.object]))
    places = [getattr(scene, name) for name in ("place", "background") if name in said]
    if places and rng.random() < 0.2:
        return f"{places[-1]}, {thing}" + "".join(f" {place}" for place in places[:-1])
    return thing + (f" {', '.join(places)}" if places else "")
