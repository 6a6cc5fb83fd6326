"""What stands behind the things in drawn pictures."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw

from peftscope.tasks.images.drawing.brush import Colour, shaded

__all__ = ["BACKGROUNDS"]


def _meadow(side: int, rng: Random) -> Image.Image:
    picture, pen = _two_parts(side, rng, (165, 205, 240), (120, 180, 95))
    for _ in range(24):
        x, y = rng.uniform(0, side), rng.uniform(0.66 * side, side)
        pen.line([(x, y), (x + rng.uniform(-2, 2), y - 0.06 * side)], fill=(85, 145, 70), width=max(1, side // 90))
    return picture


def _beach(side: int, rng: Random) -> Image.Image:
    picture, pen = _two_parts(side, rng, (190, 225, 245), (235, 215, 160))
    pen.rectangle((0, 0.42 * side, side, 0.62 * side), fill=(70, 145, 195))
    return picture


def _night(side: int, rng: Random) -> Image.Image:
    picture, pen = _plain(side, rng, (28, 30, 68))
    for _ in range(26):
        _dot(pen, side, rng, (245, 240, 200), 0.010)
    return picture


def _snow(side: int, rng: Random) -> Image.Image:
    picture, pen = _two_parts(side, rng, (155, 170, 195), (240, 244, 250))
    for _ in range(40):
        _dot(pen, side, rng, (255, 255, 255), 0.014)
    return picture


def _bricks(side: int, rng: Random) -> Image.Image:
    picture, pen = _plain(side, rng, (205, 185, 170))
    rows, gap = 8, side / 64
    high, wide = side / rows, side / 4
    for row in range(rows):
        shift = wide / 2 * (row % 2)
        for column in range(-1, 5):
            left, top = column * wide + shift, row * high
            fill = shaded((165, 90, 70), rng.uniform(-0.12, 0.12))
            pen.rectangle((left + gap, top + gap, left + wide - gap, top + high - gap), fill=fill)
    return picture


def _tiles(side: int, rng: Random) -> Image.Image:
    picture, pen = _plain(side, rng, (225, 225, 225))
    tile, shift = side / 4, rng.randrange(2)
    for row in range(4):
        for column in range(4):
            if (row + column + shift) % 2:
                left, top = column * tile, row * tile
                pen.rectangle((left, top, left + tile, top + tile), fill=(110, 115, 125))
    return picture


def _stripes(side: int, rng: Random) -> Image.Image:
    picture, pen = _plain(side, rng, (250, 235, 205))
    wide = side / 8
    for stripe in range(4):
        left = (2 * stripe + rng.uniform(0, 0.2)) * wide
        pen.rectangle((left, 0, left + wide, side), fill=(215, 165, 120))
    return picture


def _water(side: int, rng: Random) -> Image.Image:
    picture, pen = _plain(side, rng, (30, 120, 150))
    for row in range(side):
        share = 0.35 - 0.7 * row / side
        pen.line([(0, row), (side, row)], fill=shaded((30, 120, 150), share))
    for _ in range(14):
        x, y, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.015, 0.035) * side
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=(200, 235, 240), width=max(1, side // 80))
    return picture


BACKGROUNDS: dict[str, Callable[[int, Random], Image.Image]] = {
    "in a meadow": _meadow,
    "on a beach": _beach,
    "at night": _night,
    "in the snow": _snow,
    "before a brick wall": _bricks,
    "on a tiled floor": _tiles,
    "on a striped cloth": _stripes,
    "under water": _water,
}
"""By the words in a caption; each gets the side in pixels and what differs from picture to picture."""


def _plain(side: int, rng: Random, colour: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (side, side), shaded(colour, rng.uniform(-0.08, 0.08)))
    return picture, ImageDraw.Draw(picture)


def _two_parts(side: int, rng: Random, above: Colour, below: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture, pen = _plain(side, rng, above)
    pen.rectangle((0, rng.uniform(0.57, 0.65) * side, side, side), fill=shaded(below, rng.uniform(-0.08, 0.08)))
    return picture, pen


def _dot(pen: ImageDraw.ImageDraw, side: int, rng: Random, colour: Colour, size: float) -> None:
    x, y, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.7, 1.4) * size * side
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
