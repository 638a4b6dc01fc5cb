"""Charts out of braille dots: two dots across and four down in each cell. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["area"]

# The dots of one half of a cell, filled from the bottom: 0 to 4 dots high.
_LEFT: Final = (0x00, 0x40, 0x44, 0x46, 0x47)
_RIGHT: Final = (0x00, 0x80, 0xA0, 0xB0, 0xB8)


def area(values: Sequence[float], width: int, height: int, top: float) -> list[str]:
    """`height` rows of `width` cells, the ground filled below the last `2 * width` values, newest at the right.

    `top` is the value of the upper edge. Whatever is above 0 shows at least one dot.

    >>> area([1, 2, 3, 4], 2, 1, 4)
    ['⣠⣾']
    """
    points = 2 * width
    dots_high = 4 * height
    recent = values[-points:]
    heights = [0] * (points - len(recent)) + [_dots(value, top, dots_high) for value in recent]
    rows: list[str] = []
    for row in range(height):
        floor = 4 * (height - 1 - row)
        rows.append(
            "".join(_cell(_within(heights[x], floor), _within(heights[x + 1], floor)) for x in range(0, points, 2))
        )
    return rows


def _cell(left: int, right: int) -> str:
    # A space where nothing is: some terminals draw the empty braille cell as eight hollow dots.
    return chr(0x2800 + _LEFT[left] + _RIGHT[right]) if left or right else " "


def _dots(value: float, top: float, dots_high: int) -> int:
    if value <= 0 or top <= 0:
        return 0
    return max(1, min(dots_high, round(value / top * dots_high)))


def _within(dots: int, floor: int) -> int:
    return max(0, min(4, dots - floor))
