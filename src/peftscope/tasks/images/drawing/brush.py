"""A brush that draws in the coordinates of one thing, wherever that thing stands in the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

__all__ = ["INK", "Brush", "Colour", "Point", "shaded"]

Colour = tuple[int, int, int]
Point = tuple[float, float]

INK: Colour = (38, 32, 40)
"""Of outlines and eyes."""
ROUND = 40
"""Corners of an ellipse."""


@dataclass(frozen=True, kw_only=True)
class Brush:
    """Draws in coordinates from −1 to 1, right and down, of a thing that is ``radius`` pixels wide to each side."""

    pen: ImageDraw.ImageDraw
    x: float
    """Of the middle, in pixels."""
    y: float
    radius: float
    turn: float = 0.0
    """In radians, clockwise."""

    def polygon(self, points: Sequence[Point], fill: Colour, *, outline: bool = True) -> None:
        """A filled shape, with a dark edge where wanted."""
        there = [self._placed(point) for point in points]
        self.pen.polygon(there, fill=fill)
        if outline:
            self.pen.line([*there, there[0], there[1]], fill=INK, width=self._width(0.09), joint="curve")

    def ellipse(self, x: float, y: float, wide: float, high: float, fill: Colour, *, outline: bool = True) -> None:
        """Around (x, y), ``wide`` and ``high`` to each side."""
        angles = [2.0 * math.pi * corner / ROUND for corner in range(ROUND)]
        self.polygon([(x + wide * math.cos(a), y + high * math.sin(a)) for a in angles], fill, outline=outline)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Colour, *, outline: bool = True) -> None:
        """A rectangle by its edges."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill, outline=outline)

    def line(self, points: Sequence[Point], colour: Colour = INK, width: float = 0.09) -> None:
        """A stroke, ``width`` in the thing's own measure."""
        there = [self._placed(point) for point in points]
        self.pen.line(there, fill=colour, width=self._width(width), joint="curve")

    def _width(self, width: float) -> int:
        return max(1, round(width * self.radius))

    def _placed(self, point: Point) -> Point:
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        across, down = point[0] * self.radius, point[1] * self.radius
        return self.x + across * cos - down * sin, self.y + across * sin + down * cos


def shaded(colour: Colour, share: float) -> Colour:
    """Towards black below 0, towards white above.

    >>> shaded((100, 200, 0), -0.5)
    (50, 100, 0)
    """
    end = 255 if share > 0 else 0
    red, green, blue = (round(value + (end - value) * abs(share)) for value in colour)
    return red, green, blue
