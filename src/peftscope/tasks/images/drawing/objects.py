"""The things in drawn pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

from peftscope.tasks.images.drawing.brush import INK, Brush, Colour, Point, shaded

__all__ = ["OBJECTS", "eye"]

WHITE: Colour = (250, 250, 245)
WOOD: Colour = (120, 78, 48)
LEAF: Colour = (70, 140, 70)


def eye(brush: Brush, x: float, y: float, size: float) -> None:
    """White, with a pupil."""
    brush.ellipse(x, y, size, size, WHITE, outline=False)
    brush.ellipse(x, y, size * 0.5, size * 0.5, INK, outline=False)


def _ball(brush: Brush, colour: Colour) -> None:
    brush.ellipse(0, 0, 0.9, 0.9, colour)
    brush.ellipse(-0.3, -0.35, 0.22, 0.16, shaded(colour, 0.6), outline=False)


def _box(brush: Brush, colour: Colour) -> None:
    top = [(-0.85, -0.35), (-0.4, -0.8), (0.9, -0.8), (0.45, -0.35)]
    side = [(0.45, -0.35), (0.9, -0.8), (0.9, 0.4), (0.45, 0.85)]
    brush.box(-0.85, -0.35, 0.45, 0.85, colour)
    brush.polygon(top, shaded(colour, 0.35))
    brush.polygon(side, shaded(colour, -0.3))


def _star(brush: Brush, colour: Colour) -> None:
    brush.polygon(_spokes(5, 1.0, 0.45), colour)


def _heart(brush: Brush, colour: Colour) -> None:
    angles = [2.0 * math.pi * step / 48 for step in range(48)]
    brush.polygon([_on_heart(angle) for angle in angles], colour)


def _on_heart(angle: float) -> Point:
    down = -(13 * math.cos(angle) - 5 * math.cos(2 * angle) - 2 * math.cos(3 * angle) - math.cos(4 * angle)) / 17
    return 0.95 * math.sin(angle) ** 3, down


def _tree(brush: Brush, colour: Colour) -> None:
    brush.box(-0.15, 0.3, 0.15, 1.0, WOOD)
    for top, wide in ((0.0, 0.85), (-0.5, 0.65), (-1.0, 0.45)):
        brush.polygon([(0, top), (wide, top + 0.65), (-wide, top + 0.65)], colour)


def _house(brush: Brush, colour: Colour) -> None:
    brush.box(-0.7, -0.1, 0.7, 0.9, WHITE)
    brush.polygon([(-0.95, -0.1), (0, -0.9), (0.95, -0.1)], colour)
    brush.box(-0.18, 0.35, 0.18, 0.9, colour)


def _fish(brush: Brush, colour: Colour) -> None:
    brush.polygon([(0.35, 0), (0.95, -0.5), (0.95, 0.5)], shaded(colour, -0.2))
    brush.ellipse(-0.15, 0, 0.75, 0.5, colour)
    eye(brush, -0.5, -0.1, 0.15)


def _mushroom(brush: Brush, colour: Colour) -> None:
    brush.polygon([(-0.25, 0), (0.25, 0), (0.35, 0.9), (-0.35, 0.9)], WHITE)
    arch = [(0.9 * math.cos(a), 0.05 + 0.9 * math.sin(a)) for a in (math.pi * (1 + step / 20) for step in range(21))]
    brush.polygon(arch, colour)
    for x, y in ((-0.45, -0.25), (0.05, -0.5), (0.45, -0.2)):
        brush.ellipse(x, y, 0.14, 0.14, WHITE, outline=False)


def _cup(brush: Brush, colour: Colour) -> None:
    brush.ellipse(0.6, 0, 0.32, 0.35, shaded(colour, -0.2))
    brush.polygon([(-0.75, -0.65), (0.6, -0.65), (0.42, 0.8), (-0.57, 0.8)], colour)
    brush.ellipse(-0.075, -0.65, 0.67, 0.18, shaded(colour, -0.5))


def _boat(brush: Brush, colour: Colour) -> None:
    brush.line([(0, 0.3), (0, -0.95)], WOOD, 0.12)
    brush.polygon([(0.1, -0.9), (0.75, 0.15), (0.1, 0.15)], WHITE)
    brush.polygon([(-0.95, 0.3), (0.95, 0.3), (0.6, 0.85), (-0.6, 0.85)], colour)


def _flower(brush: Brush, colour: Colour) -> None:
    brush.line([(0, 0), (0, 1.0)], LEAF, 0.16)
    for step in range(6):
        angle = math.pi * step / 3
        brush.ellipse(0.42 * math.cos(angle), -0.3 + 0.42 * math.sin(angle), 0.3, 0.3, colour)
    brush.ellipse(0, -0.3, 0.26, 0.26, (245, 215, 90))


def _monster(brush: Brush, colour: Colour) -> None:
    for x in (-0.4, 0.4):
        brush.ellipse(x, 0.85, 0.22, 0.14, shaded(colour, -0.3))
        brush.ellipse(x * 2.1, 0.2, 0.16, 0.28, shaded(colour, -0.15))
    brush.ellipse(0, 0, 0.75, 0.85, colour)
    for x in (-0.28, 0.28):
        eye(brush, x, -0.25, 0.22)
    brush.line([(-0.3, 0.35), (0, 0.45), (0.3, 0.35)])


def _spokes(number: int, outer: float, inner: float) -> list[Point]:
    angles = [math.pi * (step / number - 0.5) for step in range(2 * number)]
    radii = [inner if step % 2 else outer for step in range(2 * number)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle, radius in zip(angles, radii)]


OBJECTS: dict[str, Callable[[Brush, Colour], None]] = {
    "ball": _ball,
    "box": _box,
    "star": _star,
    "heart": _heart,
    "tree": _tree,
    "house": _house,
    "fish": _fish,
    "mushroom": _mushroom,
    "cup": _cup,
    "boat": _boat,
    "flower": _flower,
    "monster": _monster,
}
"""By the word in a caption."""
