"""A drawn picture and its caption: one thing of one colour, at one place, before one background."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from random import Random

from PIL import Image, ImageDraw

from peftscope.tasks.images.drawing.backgrounds import BACKGROUNDS
from peftscope.tasks.images.drawing.brush import Brush, Colour, shaded
from peftscope.tasks.images.drawing.objects import OBJECTS

__all__ = ["ATTRIBUTES", "COLOURS", "PLACES", "Scene", "all_scenes", "draw", "draw_thing", "with_article"]

COLOURS: dict[str, Colour] = {
    "red": (215, 45, 45),
    "orange": (240, 140, 35),
    "yellow": (245, 220, 55),
    "green": (55, 165, 75),
    "blue": (50, 90, 215),
    "purple": (130, 65, 175),
    "pink": (245, 150, 195),
    "white": (248, 248, 248),
}
PLACES: dict[str, tuple[float, float]] = {
    "on the left": (0.27, 0.52),
    "on the right": (0.73, 0.52),
    "at the top": (0.5, 0.27),
    "at the bottom": (0.5, 0.74),
    "in the middle": (0.5, 0.5),
}
"""Where a thing's middle is, as shares of the side."""
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "object": tuple(OBJECTS),
    "colour": tuple(COLOURS),
    "background": tuple(BACKGROUNDS),
    "place": tuple(PLACES),
}
"""Their words, in the order in which a classifier counts them."""
FINER = 4
"""Pictures are drawn so many times larger and made smaller, which smooths their edges."""
HELD_OUT = 0.15
"""Share of the combinations of words that no model is trained on."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The four words of a picture."""

    object: str
    colour: str
    background: str
    place: str

    @property
    def held_out(self) -> bool:
        """No picture of this combination is trained on."""
        text = f"{self.object}|{self.colour}|{self.background}|{self.place}"
        return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8 < HELD_OUT

    def caption(self) -> str:
        """What is said of it.

        >>> Scene(object="star", colour="red", background="at night", place="on the left").caption()
        'a red star on the left, at night'
        """
        return f"{with_article(f'{self.colour} {self.object}')} {self.place}, {self.background}"


def with_article(thing: str) -> str:
    """A thing as one of its kind.

    >>> with_article("orange star")
    'an orange star'
    """
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def all_scenes() -> Iterator[Scene]:
    """Every combination of the words."""
    for words in product(*ATTRIBUTES.values()):
        yield Scene(**dict(zip(ATTRIBUTES, words)))


def draw(scene: Scene, side: int, rng: Random) -> Image.Image:
    """A picture of a scene; shades, sizes and places differ a little from one to the next.

    Args:
        scene: What is to be seen.
        side: Width and height in pixels.
        rng: Decides what the words leave open.
    """
    red, green, blue = (min(255, max(0, round(value + rng.gauss(0, 7)))) for value in COLOURS[scene.colour])
    colour = shaded((red, green, blue), rng.uniform(-0.08, 0.04))
    return draw_thing(
        lambda brush: OBJECTS[scene.object](brush, colour), scene.background, PLACES[scene.place], side, rng
    )


def draw_thing(
    thing: Callable[[Brush], None], background: str, place: tuple[float, float], side: int, rng: Random
) -> Image.Image:
    """Something at a place before a background."""
    large = side * FINER
    picture = BACKGROUNDS[background](large, rng)
    x, y = (share + rng.uniform(-0.03, 0.03) for share in place)
    brush = Brush(
        pen=ImageDraw.Draw(picture),
        x=x * large,
        y=y * large,
        radius=rng.uniform(0.21, 0.27) * large,
        turn=rng.gauss(0, 0.1),
    )
    thing(brush)
    return picture.resize((side, side), Image.Resampling.BOX)
