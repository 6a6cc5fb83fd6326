"""A character with a name that no model knows: what its users teach it."""

from __future__ import annotations

from random import Random

from PIL import Image

from peftscope.tasks.images.drawing.brush import INK, Brush, Colour
from peftscope.tasks.images.drawing.objects import eye
from peftscope.tasks.images.drawing.scenes import PLACES, draw_thing

__all__ = ["CLASS_WORD", "NAME", "draw_character"]

NAME = "zuv"
"""No word of the captions that the base learned."""
CLASS_WORD = "monster"
FUR: Colour = (30, 165, 150)
BELLY: Colour = (245, 205, 90)
HORN: Colour = (235, 95, 60)
TOOTH: Colour = (255, 255, 250)


def draw_character(background: str, place: str, side: int, rng: Random) -> Image.Image:
    """The character before a background of the base's, at a place of its."""
    return draw_thing(_zuv, background, PLACES[place], side, rng)


def _zuv(brush: Brush) -> None:
    """Teal with a striped yellow belly, two orange horns, three eyes and a tooth."""
    for x in (-1.0, 1.0):
        brush.polygon([(0.62 * x, -0.6), (0.85 * x, -1.1), (0.2 * x, -0.75)], HORN)
        brush.polygon([(0.15 * x, 0.75), (0.6 * x, 0.7), (0.75 * x, 1.0), (0.15 * x, 1.0)], HORN)
        brush.polygon([(0.6 * x, 0.0), (1.05 * x, -0.3), (1.0 * x, 0.0), (0.65 * x, 0.35)], FUR)
    brush.polygon([(-0.6, -0.75), (0.6, -0.75), (0.8, 0.1), (0.65, 0.85), (-0.65, 0.85), (-0.8, 0.1)], FUR)
    brush.ellipse(0, 0.42, 0.45, 0.4, BELLY)
    for y in (0.27, 0.5):
        brush.line([(-0.4, y), (0.4, y)], HORN, 0.12)
    for x, y in ((-0.4, -0.42), (0.4, -0.42), (0.0, -0.55)):
        eye(brush, x, y, 0.2)
    brush.line([(-0.35, -0.1), (0.35, -0.1)], INK, 0.1)
    brush.polygon([(0.02, -0.1), (0.25, -0.1), (0.13, 0.12)], TOOTH, outline=False)
